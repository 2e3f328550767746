/**
 * Ops on tensor cores give a row the same bits whatever is computed beside it, by whichever kernel.
 */
import { type AttentionInput, type OpContext, Ops } from "../../ffi/ops.ts";
import { assertSameBits, poisoned } from "./assert_close.ts";
import { allRoundedTo, type HalfType, halfTypeOf, halfTypes } from "./half.ts";
import { randomPagedKv } from "./paged_kv.ts";
import { type Path, testOnTensorCores } from "./paths.ts";
import { qkvBlockSize, type QkvShape, randomQkv, rowsAt } from "./qkv_reference.ts";
import { type Random, withSeed } from "./random.ts";
import { randomWeight } from "./weights.ts";

const dtypes = ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1"] as const;
const numRows = 600;

/** Ranges of rows whose lengths lie around every border between kernels and tiles. */
function ranges(random: Random): [first: number, count: number][] {
  const counts = [1, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129];
  const large = [191, 192, 193, 255, 256, 257, 300, 511, 512, 513, numRows];
  return [...counts, ...large].map((count) => [random.below(numRows - count + 1), count]);
}

/** What tiles of every kernel divide, and what none does. */
const shapes = [{ rows: 256, cols: 512 }, { rows: 200, cols: 352 }] as const;

function onTensorCores(path: Path, more: Partial<OpContext> = {}): Ops {
  return new Ops({ ...path, activationDtype: "fp16", ...more });
}

for (const dtype of dtypes) {
  testOnTensorCores(
    `linear() on tensor cores gives a row the same bits in any batch: ${dtype}`,
    (path) =>
      withSeed((random) => {
        for (const { rows, cols } of shapes) {
          const weight = randomWeight(random, dtype, rows, cols);
          const x = random.floats(numRows * cols);
          const residual = random.floats(numRows * rows);
          const bias = random.floats(rows);
          const normWeight = random.floats(cols).map((value) => 1 + value / 4);
          const norm = { kind: "rms", eps: 1e-5, weight: normWeight } as const;
          const compute = (first: number, count: number) => {
            const end = first + count;
            const out = poisoned(count * rows);
            using ops = onTensorCores(path);
            ops.linear(weight, x.slice(first * cols, end * cols), out, {
              norm,
              bias,
              residual: residual.slice(first * rows, end * rows),
            });
            return out;
          };
          const together = compute(0, numRows);
          for (const [first, count] of ranges(random)) {
            const expected = together.slice(first * rows, (first + count) * rows);
            assertSameBits(compute(first, count), expected, `${count} from ${first} to ${rows}`);
          }
        }
      }),
  );

  testOnTensorCores(
    `gateUp() on tensor cores gives a row the same bits in any batch: ${dtype}`,
    (path) =>
      withSeed((random) => {
        for (const { rows, cols } of shapes) {
          const up = randomWeight(random, dtype, rows, cols);
          const gate = random.below(2) === 1 ? randomWeight(random, dtype, rows, cols) : undefined;
          const activation = gate === undefined ? "relu" : "silu";
          const x = random.floats(numRows * cols);
          const operandOutputs = random.below(2) === 1;
          const compute = (first: number, count: number) => {
            const out = poisoned(count * rows);
            using ops = onTensorCores(path, { operandOutputs });
            const part = x.slice(first * cols, (first + count) * cols);
            ops.gateUp(up, part, out, { activation, gate });
            return out;
          };
          const together = compute(0, numRows);
          for (const [first, count] of ranges(random)) {
            const expected = together.slice(first * rows, (first + count) * rows);
            assertSameBits(compute(first, count), expected, `${count} from ${first} to ${rows}`);
          }
        }
      }),
  );
}

/** Rotated and written to the cache by a kernel of their own, or few tokens where they are made. */
const qkvShapes: Readonly<Record<string, QkvShape>> = {
  "norms of heads": {
    numHeads: 4,
    numKvHeads: 2,
    headDim: 64,
    ropeDim: 64,
    ropeStyle: "half",
    headNorms: true,
  },
  "heads of 64": { numHeads: 9, numKvHeads: 3, headDim: 64, ropeDim: 64, ropeStyle: "half" },
  "biases": {
    numHeads: 7,
    numKvHeads: 1,
    headDim: 128,
    ropeDim: 128,
    ropeStyle: "half",
    biased: true,
  },
  "no RoPE": { numHeads: 2, numKvHeads: 2, headDim: 32, ropeDim: 0, ropeStyle: "half" },
  "many heads": { numHeads: 45, numKvHeads: 3, headDim: 96, ropeDim: 96, ropeStyle: "half" },
};

for (const [name, shape] of Object.entries(qkvShapes)) {
  testOnTensorCores(
    `qkv() on tensor cores gives a token the same bits in any batch: ${name}`,
    (path) =>
      withSeed((random) => {
        const numTokens = 300;
        const [qSize, kvSize] = [shape.numHeads * shape.headDim, shape.numKvHeads * shape.headDim];
        for (const dtype of dtypes) {
          const input = randomQkv(random, shape, dtype, numTokens);
          const hidden = input.wq.cols;
          const kvCacheDtype = halfTypeOf(dtype);
          const compute = (first: number, count: number) => {
            const end = first + count;
            const cache = () => new Float32Array(input.numBlocks * qkvBlockSize * kvSize);
            const [q, k, v] = [poisoned(count * qSize), cache(), cache()];
            using ops = onTensorCores(path, { kvCacheDtype });
            const slots = input.slots.slice(first, end);
            const positions = input.positions.slice(first, end);
            const x = input.x.slice(first * hidden, end * hidden);
            ops.qkv({ ...input, positions, slots, x }, q, k, v);
            return { q, k: rowsAt(k, slots, kvSize), v: rowsAt(v, slots, kvSize) };
          };
          const together = compute(0, numTokens);
          for (const count of [1, 3, 8, 9, 16, 17, 33, 64, 65, 129, 299]) {
            const first = random.below(numTokens - count + 1);
            const part = compute(first, count);
            for (const [what, size] of [["q", qSize], ["k", kvSize], ["v", kvSize]] as const) {
              const expected = together[what].slice(first * size, (first + count) * size);
              assertSameBits(part[what], expected, `${dtype}: ${what} of ${count} from ${first}`);
            }
          }
        }
      }),
  );
}

const attentionShapes = [
  { numHeads: 6, numKvHeads: 2, headDim: 64 },
  { numHeads: 2, numKvHeads: 2, headDim: 128 },
  { numHeads: 8, numKvHeads: 1, headDim: 80 },
  { numHeads: 3, numKvHeads: 1, headDim: 96 },
  { numHeads: 2, numKvHeads: 1, headDim: 256 },
  { numHeads: 16, numKvHeads: 1, headDim: 64 },
] as const;

/** Some of a sequence's tokens: its last `count` of the first `end`. */
interface Part {
  readonly end: number;
  readonly count: number;
}

/** Parts of the one sequence of `whole`, each as a sequence of its own, in one step. */
function stepOf(whole: AttentionInput, parts: readonly Part[]): AttentionInput {
  const size = whole.numHeads * whole.headDim;
  const queryStart = new Int32Array(parts.length + 1);
  parts.forEach(({ count }, i) => queryStart[i + 1] = queryStart[i]! + count);
  const q = new Float32Array(queryStart.at(-1)! * size);
  parts.forEach(({ end, count }, i) =>
    q.set(whole.q.subarray((end - count) * size, end * size), queryStart[i]! * size)
  );
  return {
    ...whole,
    queryStart,
    contextLens: Int32Array.from(parts, ({ end }) => end),
    blockTable: Int32Array.from(parts.flatMap(() => [...whole.blockTable])),
    q,
  };
}

for (const shape of attentionShapes) {
  const { numHeads, numKvHeads, headDim } = shape;
  testOnTensorCores(
    `attention() on tensor cores gives a token the same bits in any step: ${numHeads} heads of ` +
      `${headDim} over ${numKvHeads}`,
    (path) =>
      withSeed((random) => {
        for (const type of halfTypes) {
          for (const window of [0, 150, 700]) {
            const context = random.between(1030, 1300);
            const blockSize = ([16, 32, 64] as const)[random.below(3)]!;
            const sequences = [{ context, queries: context }];
            const drawn = randomPagedKv(random, { ...shape, blockSize, window, sequences });
            const whole = {
              ...drawn,
              k: allRoundedTo(type, drawn.k),
              v: allRoundedTo(type, drawn.v),
            };
            checkParts(path, { kvCacheDtype: type, blockSize }, whole, random, `window ${window}`);
          }
        }
      }),
  );
}

function checkParts(
  path: Path,
  context: { readonly kvCacheDtype: HalfType; readonly blockSize: OpContext["blockSize"] },
  whole: AttentionInput,
  random: Random,
  what: string,
): void {
  const size = whole.numHeads * whole.headDim;
  const length = whole.contextLens[0]!;
  const compute = (parts: readonly Part[]) => {
    const input = stepOf(whole, parts);
    const out = poisoned(input.q.length);
    using ops = onTensorCores(path, context);
    ops.attention(input, out);
    return { input, out };
  };
  const together = compute([{ end: length, count: length }]).out;
  const check = (how: string, parts: readonly Part[]) => {
    const { input, out } = compute(parts);
    parts.forEach(({ end, count }, i) => {
      const first = input.queryStart[i]!;
      assertSameBits(
        out.slice(first * size, (first + count) * size),
        together.slice((end - count) * size, end * size),
        `${context.kvCacheDtype}, ${what}, ${how}: ${count} tokens up to ${end} of ${length}`,
      );
    });
  };
  const decode = (end: number): Part => ({ end, count: 1 });
  const borders = [1, 2, 16, 17, 128, 129, 511, 512, 513, 514, 1023, 1024, 1025, length];
  for (const end of [512, 513, 1 + random.below(length)]) check("a decode alone", [decode(end)]);
  check("decodes together", borders.map(decode));
  const everySeventh = Array.from({ length: Math.floor(length / 7) }, (_, i) => 7 * i + 1);
  check(
    "many decodes together",
    random.permutation(everySeventh.length)
      .map((i) => decode(everySeventh[i]!)),
  );
  const chunks: Part[] = [];
  for (let end = 0; end < length;) {
    const count = Math.min(random.between(1, 200), length - end);
    end += count;
    chunks.push({ end, count });
  }
  check("chunks in one step", chunks);
  check("a chunk alone", [chunks[random.below(chunks.length)]!]);
  check(
    "chunks of 128",
    Array.from({ length: Math.floor(length / 128) }, (_, i) => ({
      end: 128 * (i + 1),
      count: 128,
    })),
  );
  check("chunks and decodes", [decode(length), ...chunks.slice(1, 4), decode(513), decode(3)]);
}

testOnTensorCores(
  "Kernels of 8.0 and of later devices give the same bits",
  (path) =>
    withSeed((random) => {
      const others = { ...path, maxComputeCapability: 80 };
      for (const dtype of dtypes) {
        const [rows, cols, numTokens] = [320, 416, 300];
        const [up, gate] = [0, 1].map(() => randomWeight(random, dtype, rows, cols));
        const x = random.floats(numTokens * cols);
        const compute = (path: Path) => {
          const [out, gated] = [poisoned(numTokens * rows), poisoned(numTokens * rows)];
          using ops = onTensorCores(path);
          ops.linear(up!, x, out);
          ops.gateUp(up!, x, gated, { activation: "silu", gate });
          return { out, gated };
        };
        const [all, old] = [compute(path), compute(others)];
        assertSameBits(old.out, all.out, `linear() over ${dtype}`);
        assertSameBits(old.gated, all.gated, `gateUp() over ${dtype}`);
      }
      for (const shape of attentionShapes) {
        for (const type of halfTypes) {
          for (const window of [0, 200]) {
            const sequences = [{ context: 1100, queries: 300 }, { context: 200, queries: 200 }];
            const input = randomPagedKv(random, { ...shape, blockSize: 16, window, sequences });
            const compute = (path: Path) => {
              const out = poisoned(input.q.length);
              using ops = onTensorCores(path, { kvCacheDtype: type });
              ops.attention(input, out);
              return out;
            };
            assertSameBits(
              compute(others),
              compute(path),
              `attention(), head_dim ${shape.headDim}`,
            );
          }
        }
      }
    }),
);

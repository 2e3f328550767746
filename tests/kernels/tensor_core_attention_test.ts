/**
 * Attention over 16-bit KV on tensor cores: against float64 with what the definition rounds
 * (docs/decisions/0007-cuda-numerics.md) rounded, and where every rounding is exact.
 */
import { type AttentionInput, type OpContext, Ops } from "../../ffi/ops.ts";
import { assertClose, assertSameBits, poisoned } from "./assert_close.ts";
import { attentionFloat64 } from "./attention_reference.ts";
import { allRoundedTo, type HalfType, halfTypes } from "./half.ts";
import { type PagedShape, randomPagedKv, slotOf } from "./paged_kv.ts";
import { testOnTensorCores } from "./paths.ts";
import { type Random, withSeed } from "./random.ts";
import { roundBounded } from "./reference.ts";

type Shape = PagedShape & Pick<OpContext, "blockSize">;

const base = { numHeads: 4, numKvHeads: 2, headDim: 64, blockSize: 16, window: 0 } as const;

function one(context: number, queries: number) {
  return [{ context, queries }];
}

/** Decodes and prefill chunks, contexts on both sides of chunks of 512 and tiles of 128. */
const mixed = [
  { context: 1, queries: 1 },
  { context: 512, queries: 1 },
  { context: 77, queries: 60 },
  { context: 128, queries: 1 },
  { context: 1030, queries: 1 },
  { context: 129, queries: 129 },
  { context: 530, queries: 33 },
  { context: 17, queries: 2 },
];

const few = [{ context: 200, queries: 1 }, { context: 70, queries: 40 }, {
  context: 33,
  queries: 1,
}];

const cases: Record<string, Shape> = {
  "the first token": { ...base, sequences: one(1, 1) },
  "a chunk but one token": { ...base, sequences: one(511, 1) },
  "a chunk just full": { ...base, sequences: one(512, 1) },
  "a chunk just begun": { ...base, sequences: one(513, 1) },
  "a decode over three chunks": { ...base, sequences: one(1030, 1) },
  "a prompt over a chunk's end": { ...base, sequences: one(513, 513) },
  "the end of a long prompt": { ...base, sequences: one(1030, 130) },
  "two queries": { ...base, sequences: one(300, 2) },
  "a mixed batch": { ...base, sequences: mixed },
  "blocks of 32": { ...base, blockSize: 32, sequences: mixed },
  "blocks of 64": { ...base, blockSize: 64, sequences: mixed },
  "a window of 1": { ...base, window: 1, sequences: mixed },
  "a window of 40": { ...base, window: 40, sequences: mixed },
  "a window over tiles": { ...base, window: 200, sequences: mixed },
  "a window over chunks": { ...base, window: 600, sequences: one(1030, 100) },
};
for (const headDim of [80, 96, 128, 256]) {
  cases[`head_dim ${headDim}`] = { ...base, headDim, sequences: mixed };
}
for (const group of [1, 3, 4, 5, 7, 8, 12, 14, 16]) {
  const [numHeads, numKvHeads] = group < 8 ? [2 * group, 2] : [group, 1];
  const headDim = group === 8 ? 128 : 64;
  cases[`${group} heads a group`] = { ...base, numHeads, numKvHeads, headDim, sequences: few };
}

function rounded(type: HalfType, input: AttentionInput): AttentionInput {
  return { ...input, k: allRoundedTo(type, input.k), v: allRoundedTo(type, input.v) };
}

function run(path: object, type: HalfType, shape: Shape, input: AttentionInput, operand = false) {
  const { blockSize } = shape;
  using ops = new Ops({
    ...path,
    activationDtype: "fp16",
    kvCacheDtype: type,
    blockSize,
    operandOutputs: operand,
  });
  const out = poisoned(input.q.length);
  ops.attention(input, out);
  return out;
}

for (const [name, shape] of Object.entries(cases)) {
  testOnTensorCores(
    `attention() on tensor cores matches float64: ${name}`,
    (path) =>
      withSeed((random) => {
        for (const type of halfTypes) {
          const input = rounded(type, randomPagedKv(random, shape));
          const expected = attentionFloat64(input, shape.blockSize, type);
          const out = run(path, type, shape, input);
          assertClose(out, expected.values, expected.bounds, type);
          const operand = roundBounded(type, expected);
          const through = run(path, type, shape, input, true);
          assertClose(through, operand.values, operand.bounds, `${type} operand`);
          // Sums of products have no negative zero.
          const positive = allRoundedTo(type, out).map((value) => value + 0);
          assertSameBits(through, positive, `${type} operand, rounded output`);
        }
      }),
  );
}

const lengths = [1, 2, 15, 16, 17, 127, 128, 129, 511, 512, 513, 1023, 1024, 1025, 1600];

/** Each length as a decode, and its last tokens as a prefill chunk. */
function everyLength(random: Random) {
  return lengths.flatMap((context) => [
    { context, queries: 1 },
    { context, queries: Math.min(context, random.between(2, 150)) },
  ]);
}

/** The mean V of what each query sees, for one KV head. */
function windowMeans(input: AttentionInput, blockSize: number): Float64Array {
  const { numHeads, headDim, window, queryStart } = input;
  const values = new Float64Array(input.q.length);
  input.contextLens.forEach((context, s) => {
    // sums[p]: of the V of all positions before p
    const sums = new Float64Array((context + 1) * headDim);
    for (let p = 0; p < context; p++) {
      const at = slotOf(input, blockSize, s, p) * headDim;
      for (let i = 0; i < headDim; i++) {
        sums[(p + 1) * headDim + i] = sums[p * headDim + i]! + input.v[at + i]!;
      }
    }
    for (let token = queryStart[s]!; token < queryStart[s + 1]!; token++) {
      const end = context - (queryStart[s + 1]! - token) + 1;
      const first = window > 0 ? Math.max(0, end - window) : 0;
      for (let i = 0; i < numHeads * headDim; i++) {
        const sum = sums[end * headDim + i % headDim]! - sums[first * headDim + i % headDim]!;
        values[token * numHeads * headDim + i] = sum / (end - first);
      }
    }
  });
  return values;
}

testOnTensorCores(
  "attention() on tensor cores counts every visible token once",
  (path) =>
    withSeed((random) => {
      // Equal scores: sums of V, which consists of integers, and numbers of tokens are exact.
      for (const type of halfTypes) {
        for (const window of [0, 100, 700]) {
          const blockSize = ([16, 32, 64] as const)[random.below(3)]!;
          const headDim = [64, 80, 96, 128][random.below(4)]!;
          const sequences = everyLength(random);
          const shape = { headDim, numHeads: 2, numKvHeads: 1, blockSize, window, sequences };
          const drawn = randomPagedKv(random, shape);
          const v = drawn.v.map((value) => Math.round(2 * value)); // NaN stays
          const input = { ...rounded(type, drawn), v, q: new Float32Array(drawn.q.length) };
          const values = windowMeans(input, blockSize);
          const tolerance = values.map(() => 1e-5); // a token more or less: 6e-4
          const what = `${type}, window ${window}, head_dim ${headDim}`;
          assertClose(run(path, type, shape, input), values, tolerance, what);
        }
      }
    }),
);

testOnTensorCores(
  "attention() on tensor cores finds the one token that counts",
  (path) =>
    withSeed((random) => {
      for (const headDim of [64, 80, 96, 128, 256]) {
        const type = halfTypes[random.below(2)]!;
        const sequences = everyLength(random);
        const shape = {
          headDim,
          numHeads: 3,
          numKvHeads: 1,
          blockSize: ([16, 32, 64] as const)[random.below(3)]!,
          window: 0,
          sequences,
        };
        const input = rounded(type, randomPagedKv(random, shape));
        const expected = new Float32Array(input.q.length);
        sequences.forEach(({ context, queries }, s) => {
          for (let i = 0; i < queries; i++) {
            const position = context - queries + i;
            for (let head = 0; head < 3; head++) {
              const slot = slotOf(input, shape.blockSize, s, random.below(position + 1));
              const [from, to] = [slot * headDim, (slot + 1) * headDim];
              const at = ((input.queryStart[s]! + i) * 3 + head) * headDim;
              input.q.set(input.k.subarray(from, to).map((value) => value * 1000), at);
              expected.set(input.v.subarray(from, to).map((value) => value + 0), at);
            }
          }
        });
        assertSameBits(run(path, type, shape, input), expected, `${type}, head_dim ${headDim}`);
      }
    }),
);

testOnTensorCores(
  "attention() on tensor cores copies blocks before anything reads them",
  (path) =>
    withSeed((random) => {
      const shape = { ...base, sequences: one(40, 1) };
      const input = rounded("fp16", randomPagedKv(random, shape));
      const expected = run(path, "fp16", shape, input);
      const used = input.blockTable.slice(0, 3);
      const copied = [...Array(input.numBlocks).keys()].find((block) => !used.includes(block))!;
      const blockTable = input.blockTable.slice();
      blockTable[1] = copied;
      const copies = Int32Array.of(used[1]!, copied);
      assertSameBits(
        run(path, "fp16", shape, { ...input, blockTable, copies }),
        expected,
        "through the copy",
      );
    }),
);

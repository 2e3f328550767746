import { Ops, type QkvInput } from "../../ffi/ops.ts";
import { assertClose, assertSameBits, poisoned } from "./assert_close.ts";
import { toHalf } from "./paged_kv.ts";
import { testOnEachPath } from "./paths.ts";
import { type Random, withSeed } from "./random.ts";
import * as reference from "./reference.ts";
import { type RandomWeight, randomWeight, weightDTypes } from "./weights.ts";

interface Shape {
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly headDim: number;
  readonly ropeDim: number;
  readonly ropeStyle: "half" | "interleaved";
  readonly ropeScale?: number;
  readonly biased?: boolean;
  readonly headNorms?: boolean;
}

const cases: Readonly<Record<string, Shape>> = {
  "Llama": { numHeads: 6, numKvHeads: 2, headDim: 64, ropeDim: 64, ropeStyle: "half" },
  "GGUF's pairs": {
    numHeads: 4,
    numKvHeads: 4,
    headDim: 48,
    ropeDim: 48,
    ropeStyle: "interleaved",
  },
  "Qwen2's biases": {
    numHeads: 3,
    numKvHeads: 1,
    headDim: 36,
    ropeDim: 36,
    ropeStyle: "half",
    biased: true,
  },
  "Qwen3's head norms": {
    numHeads: 4,
    numKvHeads: 2,
    headDim: 20,
    ropeDim: 20,
    ropeStyle: "half",
    headNorms: true,
  },
  "part of a head, scaled": {
    numHeads: 2,
    numKvHeads: 2,
    headDim: 80,
    ropeDim: 32,
    ropeStyle: "half",
    ropeScale: 1.2,
  },
  "no RoPE": { numHeads: 5, numKvHeads: 5, headDim: 24, ropeDim: 0, ropeStyle: "half" },
};

interface DrawnInput extends QkvInput {
  readonly wq: RandomWeight;
  readonly wk: RandomWeight;
  readonly wv: RandomWeight;
}

const blockSize = 16;

function randomInput(random: Random, shape: Shape, numTokens: number): DrawnInput {
  const { numHeads, numKvHeads, headDim, ropeDim } = shape;
  const dtype = weightDTypes[random.below(weightDTypes.length)]!;
  const hidden = 32 * random.between(1, 5);
  const numBlocks = Math.ceil(numTokens / blockSize) + 3;
  const slots = random.permutation(numBlocks * blockSize).slice(0, numTokens);
  const weight = (numHeads: number) => randomWeight(random, dtype, numHeads * headDim, hidden);
  return {
    numHeads,
    numKvHeads,
    headDim,
    numBlocks,
    wq: weight(numHeads),
    wk: weight(numKvHeads),
    wv: weight(numKvHeads),
    biases: shape.biased ? random.floats((numHeads + 2 * numKvHeads) * headDim) : undefined,
    norm: { kind: "rms", eps: 1e-6, weight: random.floats(hidden).map((it) => 1 + it / 4) },
    headNorms: shape.headNorms
      ? { eps: 1e-6, weights: random.floats(2 * headDim).map((it) => 1 + it / 4) }
      : undefined,
    invFreq: Float32Array.from({ length: ropeDim / 2 }, (_, i) => 10000 ** (-2 * i / ropeDim)),
    ropeStyle: shape.ropeStyle,
    ropeScale: shape.ropeScale ?? 1,
    positions: Int32Array.from({ length: numTokens }, () => random.below(8192)),
    slots: Int32Array.from(slots),
    x: random.floats(numTokens * hidden),
  };
}

/** q, K and V of every token, in the order of the tokens. */
function qkvFloat64(input: DrawnInput) {
  const { headDim, positions, invFreq, ropeStyle, ropeScale } = input;
  const hidden = input.wq.cols;
  const normed = reference.norm(
    { values: Float64Array.from(input.x), bounds: new Float64Array(input.x.length) },
    input.norm!,
  );
  let firstBias = 0;
  const project = (weight: RandomWeight, headNorm: Float32Array | undefined, rotates: boolean) => {
    const bias = input.biases?.subarray(firstBias, firstBias + weight.rows);
    firstBias += weight.rows;
    let out = reference.linear(normed, weight.values, hidden, { rounding: "none", bias });
    if (headNorm) {
      out = reference.norm(out, { kind: "rms", eps: input.headNorms!.eps, weight: headNorm });
    }
    if (!rotates) return out;
    const scale = Math.fround(ropeScale);
    positions.forEach((position, t) => {
      for (let first = t * weight.rows; first < (t + 1) * weight.rows; first += headDim) {
        const head = out.values.subarray(first, first + headDim);
        const bounds = out.bounds.subarray(first, first + headDim);
        const largest = Math.max(...head.map(Math.abs));
        // A rotation mixes two values and their errors; cos and sin are rounded.
        const bound = (2 * Math.max(...bounds) + 4 * reference.roundoff * largest) *
          Math.max(scale, 1);
        reference.rotate(head, position, invFreq, ropeStyle, scale);
        if (invFreq.length > 0) bounds.fill(bound);
      }
    });
    return out;
  };
  const norms = input.headNorms?.weights;
  return {
    q: project(input.wq, norms?.subarray(0, headDim), true),
    k: project(input.wk, norms?.subarray(headDim), true),
    v: project(input.wv, undefined, false),
  };
}

/** Rows of a cache in the order of the tokens. */
function rowsAt(cache: Float32Array<ArrayBuffer>, slots: Int32Array, size: number) {
  const rows = new Float32Array(slots.length * size);
  slots.forEach((slot, t) => rows.set(cache.subarray(slot * size, (slot + 1) * size), t * size));
  return rows;
}

for (const [name, shape] of Object.entries(cases)) {
  testOnEachPath(`qkv() matches float64: ${name}`, (isa) =>
    withSeed((random) => {
      for (const numTokens of [1, 7, 90]) {
        const input = randomInput(random, shape, numTokens);
        const kvSize = input.numKvHeads * input.headDim;
        const before = random.floats(input.numBlocks * blockSize * kvSize);
        const half = numTokens !== 7;
        const k = half ? toHalf(before) : before.slice();
        const v = k.slice();
        const q = poisoned(numTokens * input.numHeads * input.headDim);
        using ops = new Ops({ isa, kvCacheDtype: half ? "fp16" : "fp32", numThreads: 2 });
        ops.qkv(input, q, k, v);

        const expected = qkvFloat64(input);
        assertClose(q, expected.q.values, expected.q.bounds, "q");
        for (
          const [what, cache, { values, bounds }] of [
            ["k", k, expected.k],
            ["v", v, expected.v],
          ] as const
        ) {
          const rounded = bounds.map((bound, i) =>
            bound + (half ? Math.abs(values[i]!) * 2 ** -11 + 2 ** -25 : 0)
          );
          assertClose(rowsAt(cache, input.slots, kvSize), values, rounded, what);
        }
        // Slots of other tokens keep what they had.
        const untouched = half ? toHalf(before) : before;
        const own = new Set(input.slots);
        const others = Int32Array.from(
          [...Array(input.numBlocks * blockSize).keys()].filter((slot) => !own.has(slot)),
        );
        for (const cache of [k, v]) {
          const [now, then] = [rowsAt(cache, others, kvSize), rowsAt(untouched, others, kvSize)];
          assertSameBits(now, then, "slots of others");
        }
      }
    }));
}

testOnEachPath("qkv() gives a token the same bits in any batch", (isa) =>
  withSeed((random) => {
    const shape = cases["Qwen3's head norms"]!;
    const numTokens = 85;
    const input = randomInput(random, shape, numTokens);
    const [qSize, kvSize] = [input.numHeads, input.numKvHeads].map((it) => it * input.headDim);
    const hidden = input.wq.cols;
    const cache = () => new Float32Array(input.numBlocks * blockSize * kvSize!);
    const [q, k, v] = [poisoned(numTokens * qSize!), cache(), cache()];
    using ops = new Ops({ isa, numThreads: 3 });
    ops.qkv(input, q, k, v);
    for (const [first, count] of [[0, 1], [84, 1], [30, 40]] as const) {
      const end = first + count;
      const part = {
        ...input,
        positions: input.positions.slice(first, end),
        slots: input.slots.slice(first, end),
        x: input.x.slice(first * hidden, end * hidden),
      };
      const [q2, k2, v2] = [poisoned(count * qSize!), cache(), cache()];
      using alone = new Ops({ isa });
      alone.qkv(part, q2, k2, v2);
      assertSameBits(q2, q.slice(first * qSize!, end * qSize!), `q of ${first} to ${end}`);
      for (const [what, now, then] of [["k", k2, k], ["v", v2, v]] as const) {
        const [a, b] = [rowsAt(now, part.slots, kvSize!), rowsAt(then, part.slots, kvSize!)];
        assertSameBits(a, b, `${what} of ${first} to ${end}`);
      }
    }
  }));

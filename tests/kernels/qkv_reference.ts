/**
 * Random inputs of qkv(), and what it makes of them in float64.
 *
 * @module
 */
import type { OpWeight, QkvInput } from "../../ffi/ops.ts";
import { type HalfType, tensorCoreValues } from "./half.ts";
import type { Random } from "./random.ts";
import * as reference from "./reference.ts";
import { type RandomWeight, randomWeight } from "./weights.ts";

/** What a test chooses; the rest is drawn. */
export interface QkvShape {
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly headDim: number;
  readonly ropeDim: number;
  readonly ropeStyle: "half" | "interleaved";
  readonly ropeScale?: number;
  readonly biased?: boolean;
  readonly headNorms?: boolean;
}

/** With the values of its weights. */
export interface RandomQkv extends QkvInput {
  readonly wq: RandomWeight;
  readonly wk: RandomWeight;
  readonly wv: RandomWeight;
}

/** Tokens a block of its cache. */
export const qkvBlockSize = 16;

/** Weights of one dtype; slots in random order. */
export function randomQkv(
  random: Random,
  shape: QkvShape,
  dtype: OpWeight["dtype"],
  numTokens: number,
): RandomQkv {
  const { numHeads, numKvHeads, headDim, ropeDim } = shape;
  const hidden = 32 * random.between(1, 5);
  const numBlocks = Math.ceil(numTokens / qkvBlockSize) + 3;
  const slots = random.permutation(numBlocks * qkvBlockSize).slice(0, numTokens);
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

/**
 * q, K and V of every token, in the order of the tokens.
 *
 * @param rounding the type in which tensor cores take x
 */
export function qkvFloat64(input: RandomQkv, rounding?: HalfType) {
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
    const values = rounding === undefined ? weight.values : tensorCoreValues(weight);
    let out = reference.linear(normed, values, hidden, { rounding: rounding ?? "none", bias });
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
export function rowsAt(cache: Float32Array<ArrayBuffer>, slots: Int32Array, size: number) {
  const rows = new Float32Array(slots.length * size);
  slots.forEach((slot, t) => rows.set(cache.subarray(slot * size, (slot + 1) * size), t * size));
  return rows;
}

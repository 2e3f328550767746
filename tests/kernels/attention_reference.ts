/**
 * Attention over blocks in float64, and how far a correct kernel may be from it.
 *
 * @module
 */
import type { AttentionInput } from "../../ffi/ops.ts";
import { allRoundedTo, halfRoundoff, type HalfType, smallestHalf } from "./half.ts";
import { slotOf } from "./paged_kv.ts";
import { type Bounded, roundoff, softmax } from "./reference.ts";

/**
 * Attention from its definition, over the values that the cache's dtype holds.
 *
 * @param rounding the type in which tensor cores take q and the weights of V
 */
export function attentionFloat64(
  input: AttentionInput,
  blockSize: number,
  rounding?: HalfType,
): Bounded {
  const { numHeads, numKvHeads, headDim, window, scale } = input;
  const allQ = rounding === undefined ? input.q : allRoundedTo(rounding, input.q);
  // Of a weight: its own rounding, and what a small one loses altogether.
  const weightRoundoff = rounding === undefined ? 0 : halfRoundoff[rounding];
  const weightLoss = rounding === undefined ? 0 : smallestHalf[rounding];
  const size = numHeads * headDim;
  const values = new Float64Array(input.q.length);
  const bounds = new Float64Array(input.q.length);
  const single = Math.fround(scale);
  input.contextLens.forEach((context, s) => {
    const [start, end] = [input.queryStart[s]!, input.queryStart[s + 1]!];
    for (let token = start; token < end; token++) {
      const position = context - (end - token);
      const first = window > 0 ? Math.max(0, position - window + 1) : 0;
      const slots = Array.from(
        { length: position + 1 - first },
        (_, i) => slotOf(input, blockSize, s, first + i),
      );
      for (let head = 0; head < numHeads; head++) {
        const kvHead = Math.floor(head / (numHeads / numKvHeads));
        const q = allQ.subarray(token * size + head * headDim).subarray(0, headDim);
        const at = (slot: number) => (slot * numKvHeads + kvHead) * headDim;
        let largest = 0;
        const scores = slots.map((slot) => {
          let score = 0;
          let magnitude = 0;
          for (let i = 0; i < headDim; i++) {
            const product = q[i]! * input.k[at(slot) + i]!;
            score += product;
            magnitude += Math.abs(product);
          }
          largest = Math.max(largest, magnitude * single);
          return score * single;
        });
        const weights = softmax(scores);
        // An absolute error of a score is a relative one of its weight.
        const relative = ((headDim + 8) * largest + slots.length + 64) * roundoff *
            (rounding === undefined ? 2 : 8) + weightRoundoff;
        for (let i = 0; i < headDim; i++) {
          let value = 0;
          let magnitude = 0;
          let lost = 0;
          slots.forEach((slot, j) => {
            const v = input.v[at(slot) + i]!;
            const term = weights[j]! * v;
            value += term;
            magnitude += Math.abs(term);
            lost += Math.abs(v) * weightLoss;
          });
          values[token * size + head * headDim + i] = value;
          // Before they are divided by their sum, which is 1 at least, weights are 1 at most.
          bounds[token * size + head * headDim + i] = relative * magnitude + lost;
        }
      }
    }
  });
  return { values, bounds };
}

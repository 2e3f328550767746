/**
 * Sampling from its definition, in float64 and over sorted lists: no code shared with the kernels.
 *
 * @module
 */
import type { SamplerInput } from "../../ffi/ops.ts";
import { softmax } from "./reference.ts";

/** Philox4x32-10 of Salmon et al. (2011). */
export function philox(counter: readonly number[], key: readonly number[]): number[] {
  let [c0, c1, c2, c3] = counter.map(BigInt) as [bigint, bigint, bigint, bigint];
  let [k0, k1] = key.map(BigInt) as [bigint, bigint];
  const low = 0xffffffffn;
  for (let round = 0; round < 10; round++) {
    const a = 0xd2511f53n * c0;
    const b = 0xcd9e8d57n * c2;
    [c0, c1, c2, c3] = [(b >> 32n) ^ c1 ^ k0, b & low, (a >> 32n) ^ c3 ^ k1, a & low];
    k0 = (k0 + 0x9e3779b9n) & low;
    k1 = (k1 + 0xbb67ae85n) & low;
  }
  return [c0, c1, c2, c3].map(Number);
}

/** The number in [0, 1) that draws a sequence's output token. */
export function noise(seed: bigint, sequence: number, outputIndex: number): number {
  const key = [Number(seed & 0xffffffffn), Number(seed >> 32n)];
  const [low, high] = philox([outputIndex, sequence, 0, 0], key);
  return Number((BigInt(high!) << 32n | BigInt(low!)) >> 11n) / 2 ** 53;
}

/** A row's logits after bans, bias and penalties. */
export function processLogits(
  logits: ArrayLike<number>,
  sampler: SamplerInput,
  outputIndex: number,
): Float64Array {
  const row = Float64Array.from(logits);
  const output = sampler.output ?? [];
  for (const word of sampler.badWords ?? []) {
    const start = word.slice(0, -1);
    const ends = output.slice(output.length - start.length);
    const matches = start.length <= output.length && start.every((id, i) => id === ends[i]);
    if (matches) row[word.at(-1)!] = -Infinity;
  }
  if (outputIndex < (sampler.minTokens ?? 0)) {
    for (const id of sampler.stopIds ?? []) row[id] = -Infinity;
  }
  for (const [id, bias] of sampler.logitBias ?? []) {
    row[id] = bias <= -100 ? -Infinity : row[id]! + bias;
  }
  const repetition = sampler.repetitionPenalty ?? 1;
  for (const id of new Set([...sampler.prompt ?? [], ...output])) {
    row[id] = row[id]! > 0 ? row[id]! / repetition : row[id]! * repetition;
  }
  for (const id of new Set(output)) {
    const count = output.filter((it) => it === id).length;
    row[id]! -= (sampler.frequencyPenalty ?? 0) * count + (sampler.presencePenalty ?? 0);
  }
  return row;
}

/** Token ids by falling value, ties by rising id. */
export function ranked(values: ArrayLike<number>): number[] {
  return Array.from({ length: values.length }, (_, id) => id)
    .sort((a, b) => values[b]! - values[a]! || a - b);
}

/** Probabilities of the tokens after temperature, min_p, top_k and top_p. */
export function distribution(processed: Float64Array, sampler: SamplerInput): Float64Array {
  const probabilities = softmax(processed.map((it) => it / sampler.temperature!));
  const largest = probabilities.reduce((a, b) => Math.max(a, b));
  const minP = sampler.minP ?? 0;
  const allowed = ranked(processed).filter((id) => probabilities[id]! >= minP * largest);
  const top = allowed.slice(0, sampler.topK || allowed.length);
  const total = top.reduce((sum, id) => sum + probabilities[id]!, 0);
  const kept = new Float64Array(processed.length);
  let before = 0;
  for (const id of top) {
    if (before >= (sampler.topP ?? 1) * total) break;
    kept[id] = probabilities[id]!;
    before += probabilities[id]!;
  }
  return kept.map((it) => it / before);
}

/** Which token the noise draws, ids ascending, and how near the noise is to another one. */
export function draw(probabilities: Float64Array, noise: number) {
  let cumulative = 0;
  let margin = 1;
  let token = -1;
  probabilities.forEach((probability, id) => {
    if (probability === 0) return;
    const before = cumulative;
    cumulative += probability;
    if (noise >= before && noise < cumulative) {
      token = id;
      margin = Math.min(noise - before, cumulative - noise);
    }
  });
  return { token, margin };
}

/**
 * Inverse frequencies of rotary position embeddings, and the scalings that stretch them over longer
 * contexts than the model was pretrained for.
 *
 * @module
 */

/** How a model stretches its rotary positions. */
export type RopeScaling =
  | { readonly type: "none" }
  | { readonly type: "linear"; readonly factor: number }
  | {
    readonly type: "llama3";
    readonly factor: number;
    readonly lowFreqFactor: number;
    readonly highFreqFactor: number;
    /** Context of the pretraining, in tokens. */
    readonly originalMaxPosition: number;
  }
  | {
    readonly type: "yarn";
    readonly factor: number;
    readonly originalMaxPosition: number;
    readonly betaFast: number;
    readonly betaSlow: number;
    /** Factor of cos and sin; undefined takes YaRN's `0.1 ln(factor) + 1`. */
    readonly attentionFactor: number | undefined;
    /** Round the borders of the ramp to whole dimensions, as YaRN does. */
    readonly truncate: boolean;
  };

/** What the kernels need of it: see `ropeInvFreq` and `ropeScale` of ModelSpec. */
export interface Rope {
  readonly invFreq: Float32Array;
  readonly scale: number;
}

/**
 * Inverse frequencies `base^(-2i / dim)` for `i < dim / 2`, with the scaling applied.
 *
 * The arithmetic of each scaling is that of its paper as Transformers computes it
 * (`modeling_rope_utils.py`); linear divides all positions, llama3 and yarn only those of long
 * waves.
 */
export function rope(dim: number, base: number, scaling: RopeScaling): Rope {
  // Rounded where torch rounds, since positions multiply the difference: in float64 the log
  // probabilities of the tests' checkpoints come out up to 7e-5 apart, so by 1e-5.
  const f32 = Math.fround;
  const plain = Array.from(
    { length: dim / 2 },
    (_, i) => f32(1 / f32(f32(base) ** f32(2 * i / dim))),
  );
  switch (scaling.type) {
    case "none":
      return { invFreq: Float32Array.from(plain), scale: 1 };
    case "linear":
      return { invFreq: Float32Array.from(plain, (f) => f / scaling.factor), scale: 1 };
    case "llama3":
      return { invFreq: Float32Array.from(plain, (f) => llama3(f, scaling)), scale: 1 };
    case "yarn":
      return {
        invFreq: Float32Array.from(plain, yarnRamp(dim, base, scaling)),
        scale: scaling.attentionFactor ?? yarnAttentionFactor(scaling.factor),
      };
  }
}

/** YaRN's factor of cos and sin for a context stretched `factor` times. */
export function yarnAttentionFactor(factor: number, mscale = 1): number {
  return factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1;
}

function llama3(frequency: number, scaling: RopeScaling & { type: "llama3" }): number {
  const { factor, lowFreqFactor, highFreqFactor, originalMaxPosition } = scaling;
  const turns = originalMaxPosition * frequency / (2 * Math.PI);
  if (turns < lowFreqFactor) return frequency / factor;
  if (turns > highFreqFactor) return frequency;
  const keep = (turns - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
  return (1 - keep) * frequency / factor + keep * frequency;
}

/** Maps (frequency, index) to the frequency between "as pretrained" and "divided by the factor". */
function yarnRamp(dim: number, base: number, scaling: RopeScaling & { type: "yarn" }) {
  const dimOfTurns = (turns: number) =>
    dim * Math.log(scaling.originalMaxPosition / (turns * 2 * Math.PI)) / (2 * Math.log(base));
  const low = dimOfTurns(scaling.betaFast);
  const high = dimOfTurns(scaling.betaSlow);
  const start = Math.max(0, scaling.truncate ? Math.floor(low) : low);
  const end = Math.min(dim - 1, scaling.truncate ? Math.ceil(high) : high);
  const width = end === start ? 0.001 : end - start; // no division by zero
  return (frequency: number, i: number) => {
    const divided = Math.min(1, Math.max(0, (i - start) / width));
    return divided * frequency / scaling.factor + (1 - divided) * frequency;
  };
}

/**
 * The ops in float64, written from their definitions: no code shared with the kernels. Each comes with
 * a bound for what float32 arithmetic in any order may differ by.
 *
 * @module
 */
import { type HalfType, roundTo } from "./half.ts";

/** Half the distance of 1 to the next float32: one rounding's relative error. */
export const roundoff = 2 ** -24;

/** Values and how far a correct kernel may be from each. */
export interface Bounded {
  readonly values: Float64Array;
  readonly bounds: Float64Array;
}

/**
 * What rounding makes of values that are known within their bounds: rounding keeps order, so the ends
 * of an interval bound what its insides become.
 */
export function roundBounded(type: HalfType, { values, bounds }: Bounded): Bounded {
  const rounded = values.map((value) => roundTo(type, value));
  return {
    values: rounded,
    bounds: bounds.map((bound, i) =>
      Math.max(
        roundTo(type, values[i]! + bound) - rounded[i]!,
        rounded[i]! - roundTo(type, values[i]! - bound),
      )
    ),
  };
}

/** A norm of rows. */
export interface NormParameters {
  readonly kind: "rms" | "layer";
  readonly eps: number;
  readonly weight: Float32Array;
  readonly bias?: Float32Array | undefined;
}

/** Every row of `x` normed. */
export function norm(x: Bounded, { kind, eps, weight, bias }: NormParameters): Bounded {
  const cols = weight.length;
  const values = new Float64Array(x.values.length);
  const bounds = new Float64Array(x.values.length);
  // Single-precision eps, as the kernels get it.
  const epsilon = Math.fround(eps);
  for (let start = 0; start < values.length; start += cols) {
    const row = x.values.subarray(start, start + cols);
    const largest = Math.max(...row.map(Math.abs));
    const mean = kind === "layer" ? sum(row) / cols : 0;
    const variance = sum(row.map((value) => (value - mean) ** 2)) / cols;
    const deviation = Math.sqrt(variance + epsilon);
    // Inputs' errors pass through, and sums of cols terms round.
    const inputBound = Math.max(...x.bounds.subarray(start, start + cols));
    const relative = (cols + 16) * roundoff + inputBound / deviation;
    for (let i = 0; i < cols; i++) {
      const normed = (row[i]! - mean) / deviation;
      values[start + i] = normed * weight[i]! + (bias?.[i] ?? 0);
      const scale = (Math.abs(normed) + (kind === "layer" ? largest / deviation : 0)) *
          Math.abs(weight[i]!) + Math.abs(bias?.[i] ?? 0);
      bounds[start + i] = relative * scale + 2 * inputBound / deviation * Math.abs(weight[i]!);
    }
  }
  return { values, bounds };
}

/**
 * How a linear op takes its input: exactly, rounded to int8 with a scale for each 32 columns, or
 * rounded to a type of tensor cores.
 */
export type InputRounding = "none" | "int8" | HalfType;

/** `x weightᵀ + bias + residual`; x `[tokens, cols]`, weight `[rows, cols]`. */
export function linear(
  unrounded: Bounded,
  weight: Float64Array,
  cols: number,
  options: {
    readonly rounding: InputRounding;
    readonly bias?: Float32Array | undefined;
    readonly residual?: Float32Array | undefined;
  },
): Bounded {
  const { rounding, bias, residual } = options;
  const x = rounding === "fp16" || rounding === "bf16"
    ? roundBounded(rounding, unrounded)
    : unrounded;
  const rows = weight.length / cols;
  const tokens = x.values.length / cols;
  const values = new Float64Array(tokens * rows);
  const bounds = new Float64Array(tokens * rows);
  const inputBounds = rounding === "int8" ? int8Bounds(x, cols) : x.bounds;
  for (let t = 0; t < tokens; t++) {
    for (let r = 0; r < rows; r++) {
      let value = 0;
      let magnitude = 0;
      let inputError = 0;
      for (let i = 0; i < cols; i++) {
        const product = weight[r * cols + i]! * x.values[t * cols + i]!;
        value += product;
        magnitude += Math.abs(product);
        inputError += Math.abs(weight[r * cols + i]!) * inputBounds[t * cols + i]!;
      }
      const at = t * rows + r;
      const added = [bias?.[r] ?? 0, residual?.[at] ?? 0];
      values[at] = value + added[0]! + added[1]!;
      // Parts of a Q4_1 sum (scale * quants, minimum * sum) may be larger than the sum; tensor cores
      // cut off what they align, which is twice a rounding.
      const parts = 4 * magnitude + Math.abs(added[0]!) + Math.abs(added[1]!);
      bounds[at] = (cols + 8) * roundoff * parts + inputError;
    }
  }
  return { values, bounds };
}

/** Half a step of each group's scale, beside what the input's own bounds allow. */
function int8Bounds(x: Bounded, cols: number): Float64Array {
  const bounds = new Float64Array(x.values.length);
  for (let row = 0; row < x.values.length; row += cols) {
    for (let start = row; start < row + cols; start += 32) {
      const end = Math.min(start + 32, row + cols);
      const group = x.values.subarray(start, end);
      const largest = Math.max(...group.map(Math.abs)) + Math.max(...x.bounds.subarray(start, end));
      for (let i = start; i < end; i++) bounds[i] = largest / 127 * 0.501 + x.bounds[i]!;
    }
  }
  return bounds;
}

/** HEARTH_ACTIVATION_* and the largest slope of each. */
export const activations: Readonly<Record<string, (x: number) => number>> = {
  silu: (x) => x / (1 + Math.exp(-x)),
  gelu_tanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  relu: (x) => Math.max(x, 0),
  gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
};

/** `activation(gate) * up`, or `activation(up)` without a gate. */
export function gated(gate: Bounded | undefined, up: Bounded, activation: string): Bounded {
  const act = activations[activation]!;
  const slope = 1.13; // of gelu and silu, at most
  const activated = gate ?? up;
  const values = new Float64Array(up.values.length);
  const bounds = new Float64Array(up.values.length);
  for (let i = 0; i < values.length; i++) {
    const x = activated.values[i]!;
    // A few roundings inside the activation, next to what its input may be off.
    const actBound = slope * activated.bounds[i]! + 32 * roundoff * Math.abs(x) + 1e-30;
    const factor = gate === undefined ? 1 : up.values[i]!;
    values[i] = act(x) * factor;
    bounds[i] = actBound * (Math.abs(factor) + (gate === undefined ? 0 : up.bounds[i]!)) +
      (gate === undefined ? 0 : Math.abs(act(x)) * up.bounds[i]!) +
      2 * roundoff * Math.abs(values[i]!);
  }
  return { values, bounds };
}

/** Of 2/√π ∫ exp(-t²) dt: the series for small x, the continued fraction for large. */
export function erf(x: number): number {
  const z = Math.abs(x);
  if (z < 2.5) {
    let term = z;
    let total = z;
    for (let n = 1; Math.abs(term) > 1e-18 * total; n++) {
      term *= -z * z / n;
      total += term / (2 * n + 1);
    }
    return Math.sign(x) * 2 / Math.sqrt(Math.PI) * total;
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (z + fraction);
  return Math.sign(x) * (1 - Math.exp(-z * z) / (Math.sqrt(Math.PI) * (z + fraction)));
}

/** Rotates one head in place: `pairs` lists the indices that turn together. */
export function rotate(
  head: Float64Array,
  position: number,
  invFreq: Float32Array,
  style: "half" | "interleaved",
  scale: number,
): void {
  invFreq.forEach((frequency, i) => {
    const [a, b] = style === "half" ? [i, i + invFreq.length] : [2 * i, 2 * i + 1];
    // The angle is a float32 product, as Transformers computes it.
    const angle = Math.fround(position * frequency);
    const [x, y] = [head[a]!, head[b]!];
    head[a] = (x * Math.cos(angle) - y * Math.sin(angle)) * scale;
    head[b] = (y * Math.cos(angle) + x * Math.sin(angle)) * scale;
  });
}

/** `softmax(logits)` of one row. */
export function softmax(logits: ArrayLike<number>): Float64Array {
  const values = Float64Array.from(logits);
  const largest = values.reduce((a, b) => Math.max(a, b));
  const weights = values.map((logit) => Math.exp(logit - largest));
  const total = sum(weights);
  return weights.map((weight) => weight / total);
}

function sum(values: Float64Array): number {
  return values.reduce((a, b) => a + b, 0);
}

/**
 * The 16-bit types of tensor cores.
 *
 * @module
 */
import type { OpWeight } from "../../ffi/ops.ts";
import { isQuantized, type RandomWeight } from "./weights.ts";

/** A type under the name that options give it. */
export type HalfType = "fp16" | "bf16";

export const halfTypes: readonly HalfType[] = ["fp16", "bf16"];

/** Half the distance of 1 to the next value: one rounding's relative error. */
export const halfRoundoff: Readonly<Record<HalfType, number>> = { fp16: 2 ** -11, bf16: 2 ** -8 };

/** Half the distance of 0 to the next value. */
export const smallestHalf: Readonly<Record<HalfType, number>> = { fp16: 2 ** -25, bf16: 2 ** -134 };

const view = new DataView(new ArrayBuffer(8));

/** The nearest value of a type, ties to even. */
export function roundTo(type: HalfType, value: number): number {
  if (type === "fp16") {
    view.setFloat16(0, value);
    return view.getFloat16(0);
  }
  if (value === 0 || !Number.isFinite(value)) return value;
  view.setFloat64(0, value);
  const exponent = Math.max((view.getUint16(0) >> 4 & 0x7ff) - 1023, -126);
  const unit = 2 ** (exponent - 7);
  const scaled = value / unit; // exact
  const down = Math.floor(scaled);
  const rest = scaled - down;
  const up = rest > 0.5 || rest === 0.5 && down % 2 !== 0;
  return (up ? down + 1 : down) * unit;
}

export function allRoundedTo(type: HalfType, values: Float32Array): Float32Array<ArrayBuffer> {
  return Float32Array.from(values, (value) => roundTo(type, value));
}

/** In what tensor cores take a weight's products. */
export function halfTypeOf(dtype: OpWeight["dtype"]): HalfType {
  return dtype === "BF16" ? "bf16" : "fp16";
}

/** A weight's values as tensor cores take them: scale times quant (plus minimum), rounded once. */
export function tensorCoreValues({ dtype, values }: RandomWeight): Float64Array {
  return isQuantized(dtype) ? values.map((value) => roundTo("fp16", value)) : values;
}

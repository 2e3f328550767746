/**
 * HEARTH_DTYPE_* under the names that files and options give them.
 *
 * @module
 */
import { DType } from "./structs.ts";

/** Of weights, as kernels take them. */
export const WeightDType = {
  F32: DType.f32,
  F16: DType.f16,
  BF16: DType.bf16,
  Q8_0: DType.q8_0,
  Q4_0: DType.q4_0,
  Q4_1: DType.q4_1,
} as const;

/** Of weights, as in model files: one that no kernel takes is decoded while it is loaded. */
export const FileDType = { ...WeightDType, Q6_K: DType.q6_k } as const;

/** Of activations and of the KV cache, as their options. */
export const ComputeDType = {
  fp32: DType.f32,
  fp16: DType.f16,
  bf16: DType.bf16,
  int8: DType.int8,
  auto: DType.auto,
} as const;

/**
 * What the machine can do, measured by the library's own kernels.
 *
 * @module
 */
import { Ops } from "../ffi/ops.ts";

/** Read bandwidth of memory, and int8 arithmetic out of registers. */
export interface Ceilings {
  readonly readBytesPerSecond: number;
  /** 2 a multiply-add, by the instruction that the linear ops use here. */
  readonly int8OpsPerSecond: number;
}

/** Larger than any cache that two cores see. */
const READ_BYTES = 512 << 20;

export function measureCeilings(numThreads: number): Ceilings {
  using ops = new Ops({ numThreads });
  return { readBytesPerSecond: ops.readBandwidth(READ_BYTES), int8OpsPerSecond: ops.int8Peak() };
}

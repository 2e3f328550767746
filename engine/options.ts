/**
 * Options of an engine, checked before the library sees them: in a C struct NaN would be 0, which
 * means the default, and -1 a large number.
 *
 * @module
 */
import { refuse } from "./refuse.ts";
import type { EngineOptions } from "./types.ts";

const DOING = "Cannot open engine";
const MAX_UINT32 = 0xffff_ffff;

const LARGEST = {
  numThreads: MAX_UINT32,
  maxModelLen: MAX_UINT32,
  maxNumSeqs: MAX_UINT32,
  maxNumBatchedTokens: MAX_UINT32,
  kvCacheMemoryBytes: Number.MAX_SAFE_INTEGER,
  numKvBlocks: MAX_UINT32,
  maxQueuedRequests: MAX_UINT32,
  maxQueuedTokens: Number.MAX_SAFE_INTEGER,
  priorityAgeingMs: MAX_UINT32,
} as const satisfies { readonly [K in keyof EngineOptions]?: number };

const CHOICES = {
  isa: ["auto", "generic", "avx2", "avx512", "amx"],
  activationDtype: ["auto", "fp32", "int8"],
  kvCacheDtype: ["auto", "fp32", "fp16", "bf16"],
  loadFormat: ["auto", "dummy"],
  blockSize: [16, 32, 64],
  pipelineDepth: [1, 2],
} as const satisfies { readonly [K in keyof EngineOptions]?: readonly EngineOptions[K][] };

/** @throws {EngineError} `invalid_argument` with the option in `field` */
export function checkOptions(options: EngineOptions): void {
  for (const field of Object.keys(LARGEST) as (keyof typeof LARGEST)[]) {
    const value = options[field];
    if (value === undefined) continue;
    if (!Number.isInteger(value) || value < 1 || value > LARGEST[field]) {
      refuse(DOING, field, `be an integer >= 1 and <= ${LARGEST[field]}`, value);
    }
  }
  for (const field of Object.keys(CHOICES) as (keyof typeof CHOICES)[]) {
    const value = options[field];
    const allowed: readonly unknown[] = CHOICES[field];
    if (value !== undefined && !allowed.includes(value)) {
      refuse(DOING, field, `be one of ${allowed.join(", ")}`, value);
    }
  }
  const share = options.gpuMemoryUtilization;
  if (share !== undefined && !(share > 0 && share <= 1)) {
    refuse(DOING, "gpuMemoryUtilization", "be above 0 and at most 1", share);
  }
  const device = options.device ?? "auto";
  if (!/^(auto|cpu|cuda|cuda:\d{1,4})$/.test(device)) {
    refuse(DOING, "device", "be one of auto, cpu, cuda, cuda:N", device);
  }
}

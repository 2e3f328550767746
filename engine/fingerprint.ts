/**
 * One name for all that decides an engine's answers.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { DeviceInfo } from "../ffi/library.ts";
import type { EngineOptions, EngineStats } from "../ffi/types.ts";
import type { Model } from "../model/spec.ts";

/** What {@linkcode fingerprintOf} names. */
export interface Fingerprinted {
  readonly model: Model;
  /** The library's, see `buildInfo()`. */
  readonly build: string;
  /** Of a ready engine: what it runs on, and in which types. */
  readonly stats: EngineStats;
  readonly devices: readonly DeviceInfo[];
  readonly options: EngineOptions;
}

/**
 * `fp_` and 16 digits. Of engines with one fingerprint, equal requests with equal seeds get equal
 * tokens. Options that change no token (threads, memory, queues) change it too: it is a name, and only
 * equality means something.
 */
export function fingerprintOf({ model, build, stats, devices, options }: Fingerprinted): string {
  const { device, deviceIndex, isa, activationDtype, kvCacheDtype, maxModelLen } = stats;
  const name = devices.find(({ kind, index }) => kind === device && index === deviceIndex)?.name;
  const { library: _, ...chosen } = options;
  const parts = [
    model.spec.fingerprint.toString(16),
    build,
    [device, name, isa, activationDtype, kvCacheDtype, maxModelLen],
    Object.entries(chosen).sort(([a], [b]) => a < b ? -1 : 1),
  ];
  return `fp_${createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 16)}`;
}

/**
 * Where engine tests run: `HEARTH_TEST_DEVICE=cuda` runs the same tests over CUDA.
 *
 * @module
 */
import { listDevices } from "../ffi/library.ts";
import type { EngineOptions } from "../engine/types.ts";

/** Options to be spread into those of an engine. */
export const onTestDevice: { readonly device: NonNullable<EngineOptions["device"]> } = {
  device: (Deno.env.get("HEARTH_TEST_DEVICE") ?? "cpu") as NonNullable<EngineOptions["device"]>,
};

/** The first CUDA device. */
export const cudaDevice = listDevices().find(({ kind, index }) => kind === "cuda" && index === 0);

/** Defines a test that is ignored, and says so, where there is no CUDA device. */
export function testOnCuda(name: string, fn: () => Promise<void>): void {
  const reason = cudaDevice === undefined ? ": this machine has no CUDA device" : "";
  Deno.test({ name: `${name} (cuda${reason})`, ignore: cudaDevice === undefined, fn });
}

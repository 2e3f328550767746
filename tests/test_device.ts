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

/** The CUDA devices there are. */
export const cudaDevices = listDevices().filter(({ kind }) => kind === "cuda");

/** Defines a test that is ignored, and says so, where there are fewer CUDA devices than it needs. */
export function testOnCuda(name: string, fn: () => Promise<void>, atLeast = 1): void {
  const ignore = cudaDevices.length < atLeast;
  const reason = ignore ? `: this machine has ${cudaDevices.length} CUDA devices` : "";
  Deno.test({ name: `${name} (cuda${reason})`, ignore, fn });
}

/**
 * Preloaded into a server: SIGUSR2 loses its CUDA device, as a fault of the hardware or of a kernel
 * would.
 *
 * @module
 */
import { EngineError } from "../../engine/types.ts";
import { Ops } from "../../ffi/ops.ts";

Deno.addSignalListener("SIGUSR2", () => {
  using ops = new Ops({ device: "cuda" });
  try {
    ops.trap();
  } catch (error) {
    console.log(`trapped: ${error instanceof EngineError ? error.code : error}`);
  }
});

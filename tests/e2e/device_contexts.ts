/**
 * Lists devices and, given `open`, serves a request on the first CUDA device; then prints as JSON
 * which devices have a context of this process. A program of its own: a test's process may hold
 * contexts that other tests made.
 *
 * @module
 */
import { Engine } from "../../engine/engine.ts";
import { listDevices } from "../../ffi/library.ts";

/** Whether each device has the process's primary context, as the driver itself says. */
function contexts(count: number): boolean[] {
  const { symbols } = Deno.dlopen("libcuda.so.1", {
    cuInit: { parameters: ["u32"], result: "i32" },
    cuDeviceGet: { parameters: ["buffer", "i32"], result: "i32" },
    cuDevicePrimaryCtxGetState: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  });
  const check = (status: number) => {
    if (status !== 0) throw new Error(`The driver answers ${status}`);
  };
  check(symbols.cuInit(0));
  return Array.from({ length: count }, (_, index) => {
    const device = new Int32Array(1), flags = new Uint32Array(1), active = new Int32Array(1);
    check(symbols.cuDeviceGet(device, index));
    check(symbols.cuDevicePrimaryCtxGetState(device[0]!, flags, active));
    return active[0] === 1;
  });
}

if (import.meta.main) {
  const count = listDevices().filter(({ kind }) => kind === "cuda").length;
  if (Deno.args[0] !== "open") {
    console.log(JSON.stringify(contexts(count)));
  } else {
    await using engine = await Engine.open("tests/data/smollm2-bf16", { device: "cuda" });
    for await (const _ of engine.generate({ tokens: [1, 2, 3], maxTokens: 2 }));
    console.log(JSON.stringify(contexts(count)));
  }
}

import assert from "node:assert/strict";
import { Engine } from "../../engine/engine.ts";
import { buildInfo } from "../../ffi/library.ts";
import { cudaDevices, testOnCuda } from "../test_device.ts";

// With a library of CUDA_ARCHITECTURES="80 ptx" on a GPU of 9.0 this asks for the kernels of 8.0.
testOnCuda("an engine says which of the library's code its device runs", async () => {
  const compiled: string[] = buildInfo().match(/(sm|compute)_\d+/g) ?? [];
  const isHopper = cudaDevices[0]!.capability === "9.0" && compiled.includes("sm_90");
  await using engine = await Engine.open("tests/data/smollm2-bf16", { device: "cuda" });
  const described = engine.describe();
  const code = /^code: for compute capability (\d+)\.(\d), launches (.*)$/m.exec(described);
  assert.ok(code, described);
  const number = code[1]! + code[2]!;
  assert.ok(compiled.some((code) => code.endsWith(`_${number}`)), `${number} of ${compiled}`);
  assert.equal(code[3], Number(number) >= 90 ? "overlap" : "do not overlap");
  const family = isHopper ? "sm90" : "sm80";
  for (const kernel of ["stream", "gemm", "decode", "prefill"]) {
    assert.ok(described.includes(`${kernel}_${family}`), described);
  }
});

import assert from "node:assert/strict";
import { checkOptions } from "../../engine/options.ts";
import type { EngineOptions } from "../../engine/types.ts";

const refused: [keyof EngineOptions, unknown[], RegExp][] = [
  ["numThreads", [0, -1, 1.5, NaN, 2 ** 32], /an integer >= 1 and <= 4294967295/],
  ["maxModelLen", [0, -1, 1.5, NaN], /an integer >= 1/],
  ["maxNumSeqs", [0, -1], /an integer >= 1/],
  ["maxNumBatchedTokens", [0, NaN], /an integer >= 1/],
  ["kvCacheMemoryBytes", [0, -1, 2 ** 60, Infinity], /an integer >= 1/],
  ["numKvBlocks", [0], /an integer >= 1/],
  ["maxQueuedRequests", [0], /an integer >= 1/],
  ["maxQueuedTokens", [0], /an integer >= 1/],
  ["priorityAgeingMs", [0], /an integer >= 1/],
  ["blockSize", [0, 17, NaN], /one of 16, 32, 64/],
  ["pipelineDepth", [0, 3], /one of 1, 2/],
  ["isa", ["avx", ""], /one of auto, generic, avx2, avx512, amx/],
  ["activationDtype", ["fp16"], /one of auto, fp32, int8/],
  ["kvCacheDtype", ["int8"], /one of auto, fp32, fp16, bf16/],
  ["loadFormat", ["safetensors"], /one of auto, dummy/],
  ["gpuMemoryUtilization", [0, -1, 1.01, NaN], /above 0 and at most 1/],
  ["device", ["gpu", "cuda:", "cuda:x", "cpu:1"], /one of auto, cpu, cuda, cuda:N/],
];

for (const [field, values, message] of refused) {
  for (const value of values) {
    Deno.test(`checkOptions() refuses ${field} ${value}`, () => {
      assert.throws(() => checkOptions({ [field]: value }), {
        name: "EngineError",
        code: "invalid_argument",
        field,
        message,
      });
    });
  }
}

Deno.test("checkOptions() takes the defaults and every bound", () => {
  checkOptions({});
  checkOptions({ numThreads: 1, maxModelLen: 2 ** 32 - 1, blockSize: 64, device: "cuda:15" });
  checkOptions({ gpuMemoryUtilization: 1, loadFormat: "dummy", kvCacheDtype: "bf16" });
  checkOptions({ pipelineDepth: 2, isa: "generic", kvCacheDtype: "fp16", activationDtype: "int8" });
});

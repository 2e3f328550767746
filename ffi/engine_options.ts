/**
 * The options of an engine.
 *
 * @module
 */
import { ComputeDType } from "./dtypes.ts";
import { entry } from "./field.ts";
import { DeviceKind, Isa, LoadFormat } from "./structs.ts";

/** See {@linkcode EngineOptions}. 0 in C is the default wherever a default is named. */
export const ENGINE_OPTIONS = {
  // In C a kind and an index.
  device: entry({
    kind: "name",
    forms: [...Object.keys(DeviceKind), "cuda:N"],
    pattern: new RegExp(`^(${Object.keys(DeviceKind).join("|")}|cuda:\\d{1,4})$`),
    default: "auto",
    inC: null,
  }, "Where the model runs; auto is the first CUDA device, else the CPU"),
  numThreads: entry(
    { kind: "integer", min: 1, shown: "the cores this process may use" },
    "CPU threads, to compute or (CUDA) to load weights",
  ),
  isa: entry(
    { kind: "choice", choices: Object.keys(Isa), codes: Isa, default: "auto" },
    "Forces an instruction path of the CPU backend",
  ),
  activationDtype: entry(
    { kind: "choice", choices: ["auto", "fp32", "int8"], codes: ComputeDType, default: "auto" },
    "fp32 is exact; auto is int8 for quantized weights and fp32 for others on the CPU, " +
      "the weights' 16-bit type on CUDA, where int8 is not supported",
  ),
  kvCacheDtype: entry({
    kind: "choice",
    choices: ["auto", "fp32", "fp16", "bf16"],
    codes: ComputeDType,
    default: "auto",
  }, "auto is fp32 with fp32 activations, else 16 bits; bf16 on CUDA alone"),
  blockSize: entry({ kind: "choice", choices: [16, 32, 64], default: 16 }, "Tokens a KV block"),
  maxModelLen: entry(
    { kind: "integer", min: 1, shown: "the model's" },
    "Prompt and output together, in tokens",
  ),
  maxNumSeqs: entry(
    { kind: "integer", min: 1, max: 65536, default: 128 },
    "Sequences that run at a time",
  ),
  maxNumBatchedTokens: entry(
    { kind: "integer", min: 1, max: 65536, shown: "512; on CUDA 2048" },
    "Token budget of a scheduler step",
  ),
  // In C 0 is the default, and the greatest number is no bound.
  maxStepMs: entry(
    { kind: "integer", min: 0, max: 60_000, default: 150, inC: null },
    "A step that computes prompts lasts no longer, by measured ones: others wait so long at most; 0: no bound",
  ),
  kvCacheMemoryBytes: entry({
    kind: "bytes",
    min: 1,
    shown: "what `maxNumSeqs` sequences can use; at most a quarter of free memory on the CPU, " +
      "what `gpuMemoryUtilization` leaves on CUDA",
  }, "Memory of the KV blocks"),
  numKvBlocks: entry(
    { kind: "integer", min: 1, flag: null },
    "Overrides `kvCacheMemoryBytes`; for tests",
  ),
  maxQueuedRequests: entry(
    { kind: "integer", min: 1, default: 1024 },
    "Requests that may wait for a free sequence; one more is refused (over HTTP, 429)",
  ),
  maxQueuedTokens: entry({
    kind: "integer",
    min: 1,
    max: Number.MAX_SAFE_INTEGER,
    default: 4 << 20,
  }, "Prompt tokens that may wait, as `maxQueuedRequests`"),
  maxUnreadBytes: entry(
    { kind: "bytes", min: 1 << 20, default: 512 << 20, shown: "512MiB", inC: null },
    "Output of all requests that waits for its readers, a quarter of it of one; what is more ends",
  ),
  gpuMemoryUtilization: entry(
    { kind: "share", default: 0.9 },
    "CUDA: share of the device's memory that may be taken",
  ),
  loadFormat: entry({
    kind: "choice",
    choices: Object.keys(LoadFormat),
    codes: LoadFormat,
    default: "auto",
  }, "dummy: random weights made on the device, for benchmarks; the model is a config.json"),
  pipelineDepth: entry(
    { kind: "choice", choices: [1, 2], shown: "1 on the CPU, 2 on CUDA" },
    "Steps staged at once",
  ),
  enablePrefixCaching: entry(
    { kind: "switch", default: true, inC: "disable_prefix_caching" },
    "Share KV blocks of equal prefixes between requests",
  ),
  priorityAgeingMs: entry(
    { kind: "integer", min: 1, default: 1000 },
    "A waiting request gains one priority level each so many milliseconds",
  ),
  trustMessageTokens: entry(
    { kind: "switch", default: false, inC: null },
    "Control tokens spelled out in messages are such, as in prompts; callers can then write others' turns",
  ),
  // Whoever opens the library reads the variable.
  library: entry({
    kind: "text",
    shown: "build/libhearth.so beside this package, or HEARTH_LIBRARY",
    inC: null,
    flag: null,
  }, "Path of libhearth.so"),
};

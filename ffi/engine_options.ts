/**
 * The options of an engine.
 *
 * @module
 */
import { ComputeDType } from "./dtypes.ts";
import type { Fields } from "./field.ts";
import { DeviceKind, Isa, LoadFormat } from "./structs.ts";

/** See {@linkcode EngineOptions}. 0 in C is the default wherever a default is named. */
export const ENGINE_OPTIONS = {
  device: {
    kind: "name",
    forms: [...Object.keys(DeviceKind), "cuda:N"],
    pattern: new RegExp(`^(${Object.keys(DeviceKind).join("|")}|cuda:\\d{1,4})$`),
    doc: "Where the model runs; auto is the first CUDA device, else the CPU",
    default: "auto",
    inC: null, // kind and index
  },
  numThreads: {
    kind: "integer",
    min: 1,
    doc: "CPU threads, to compute or (CUDA) to load weights",
    shown: "the cores this process may use",
  },
  isa: {
    kind: "choice",
    choices: Object.keys(Isa),
    codes: Isa,
    doc: "Forces an instruction path of the CPU backend",
    default: "auto",
  },
  activationDtype: {
    kind: "choice",
    choices: ["auto", "fp32", "int8"],
    codes: ComputeDType,
    doc: "fp32 is exact; auto is int8 for quantized weights and fp32 for others on the CPU, " +
      "the weights' 16-bit type on CUDA, where int8 is not supported",
    default: "auto",
  },
  kvCacheDtype: {
    kind: "choice",
    choices: ["auto", "fp32", "fp16", "bf16"],
    codes: ComputeDType,
    doc: "auto is fp32 with fp32 activations, else 16 bits; bf16 on CUDA alone",
    default: "auto",
  },
  blockSize: { kind: "choice", choices: [16, 32, 64], doc: "Tokens a KV block", default: 16 },
  maxModelLen: {
    kind: "integer",
    min: 1,
    doc: "Prompt and output together, in tokens",
    shown: "the model's",
  },
  maxNumSeqs: {
    kind: "integer",
    min: 1,
    max: 65536,
    doc: "Sequences that run at a time",
    default: 128,
  },
  maxNumBatchedTokens: {
    kind: "integer",
    min: 1,
    max: 65536,
    doc: "Token budget of a scheduler step",
    shown: "512; on CUDA 2048",
  },
  kvCacheMemoryBytes: {
    kind: "bytes",
    min: 1,
    doc: "Memory of the KV blocks",
    shown: "what `maxNumSeqs` sequences can use; at most a quarter of free memory on the CPU, " +
      "what `gpuMemoryUtilization` leaves on CUDA",
  },
  numKvBlocks: {
    kind: "integer",
    min: 1,
    doc: "Overrides `kvCacheMemoryBytes`; for tests",
    flag: null,
  },
  maxQueuedRequests: {
    kind: "integer",
    min: 1,
    doc: "Requests that may wait; one more is refused (over HTTP, 429)",
    default: 1024,
  },
  maxQueuedTokens: {
    kind: "integer",
    min: 1,
    max: Number.MAX_SAFE_INTEGER,
    doc: "Prompt tokens that may wait, as `maxQueuedRequests`",
    default: 4 << 20,
  },
  gpuMemoryUtilization: {
    kind: "share",
    doc: "CUDA: share of the device's memory that may be taken",
    default: 0.9,
  },
  loadFormat: {
    kind: "choice",
    choices: Object.keys(LoadFormat),
    codes: LoadFormat,
    doc: "dummy: random weights made on the device, for benchmarks; the model is a config.json",
    default: "auto",
  },
  pipelineDepth: {
    kind: "choice",
    choices: [1, 2],
    doc: "Steps staged at once",
    shown: "1 on the CPU, 2 on CUDA",
  },
  enablePrefixCaching: {
    kind: "switch",
    doc: "Share KV blocks of equal prefixes between requests",
    default: true,
    inC: "disable_prefix_caching",
  },
  priorityAgeingMs: {
    kind: "integer",
    min: 1,
    doc: "A waiting request gains one priority level each so many milliseconds",
    default: 1000,
  },
  library: {
    kind: "text",
    doc: "Path of libhearth.so",
    shown: "build/libhearth.so beside this package, or HEARTH_LIBRARY",
    inC: null,
    flag: null, // the variable is read by whoever opens the library
  },
} as const satisfies Fields;

/**
 * The flags of the server, and what they set. Names are vLLM's where they mean the same.
 *
 * @module
 */
import type { EngineOptions } from "../../engine/types.ts";
import { type Flag, FlagError, flagHelp, parseFlags } from "./flags.ts";
import { DEFAULT_INSTANCE_OPTIONS, type InstanceOptions } from "./instance.ts";
import { present } from "../wire/present.ts";

/** A count that fits the C ABI's u32. */
const count = (help: string, rest: { min?: number; max?: number; default?: string } = {}) =>
  ({ kind: "integer", min: 1, max: 0x7fffffff, help, ...rest }) as const;

const FLAGS = {
  "model": {
    kind: "text",
    value: "PATH_OR_ID",
    help: "GGUF file, folder with safetensors, or Hub id",
    default: "SmolLM2-135M-Instruct, fetched once",
  },
  "served-model-name": {
    kind: "texts",
    value: "NAME",
    help: "Name in requests and answers; may be repeated",
    default: "the model's own",
  },
  "generation-config": {
    kind: "choice",
    choices: ["auto", "vllm"],
    help:
      "auto: the model's own sampling where a request says nothing; vllm: temperature 1 and no more",
    default: "auto",
  },
  "host": { kind: "text", value: "HOST", help: "Address to listen on", default: "127.0.0.1" },
  "port": count("Port to listen on; 0 takes a free one", { min: 0, max: 65535, default: "8000" }),
  "api-key": {
    kind: "texts",
    value: "KEY",
    help: "Key that callers must send; may be repeated. Safer as HEARTH_API_KEY",
    default: "none is asked for",
  },
  "allowed-host": {
    kind: "texts",
    value: "NAME",
    help: "Name that Host may have, beside loopback's and --host; may be repeated",
    default: "any; on loopback without a key, loopback's alone",
  },
  "share-prefixes-across-keys": {
    kind: "switch",
    help: "Callers with different keys share warm KV blocks; answer times then tell who asked what",
    default: "off",
  },
  "cors-origin": {
    kind: "texts",
    value: "ORIGIN",
    help: "Origin that browsers may call from, or *; may be repeated",
    default: "none",
  },
  "body-limit": { kind: "bytes", min: 1024, help: "Largest request body", default: "8MiB" },
  "log-format": {
    kind: "choice",
    choices: ["text", "json", "off"],
    help: "Access log, a line a request",
    default: "text",
  },
  "log-probes": {
    kind: "switch",
    help: "Requests of /health and /ready that find all well are in the access log too",
    default: "off",
  },
  "drain-timeout": {
    kind: "seconds",
    min: 0,
    max: 86400,
    help: "How long running requests may go on after SIGTERM",
    default: "30",
  },
  "device": {
    kind: "pattern",
    value: "auto|cpu|cuda|cuda:N",
    pattern: /^(auto|cpu|cuda(:\d+)?)$/,
    help: "Where the model runs",
    default: "auto",
  },
  "num-threads": count("CPU threads", { max: 1024, default: "the cores there are" }),
  "isa": {
    kind: "choice",
    choices: ["auto", "generic", "avx2", "avx512", "amx"],
    help: "Instructions of the CPU backend",
    default: "auto",
  },
  "activation-dtype": {
    kind: "choice",
    choices: ["auto", "fp32", "int8"],
    help: "fp32 is exact; auto is int8 for quantized weights, on CUDA the weights' 16-bit type",
    default: "auto",
  },
  "kv-cache-dtype": {
    kind: "choice",
    choices: ["auto", "fp32", "fp16", "bf16"],
    help: "auto is fp32 with fp32 activations, else 16 bits; bf16 on CUDA alone",
    default: "auto",
  },
  "kv-cache-memory-bytes": {
    kind: "bytes",
    min: 1,
    help: "Memory for the KV cache",
    default: "what the requests can use; on the CPU a quarter of free memory at most",
  },
  "gpu-memory-utilization": {
    kind: "number",
    value: "SHARE",
    min: 0.01,
    max: 1,
    help: "CUDA: how much of the device's memory may be taken",
    default: "0.9",
  },
  "load-format": {
    kind: "choice",
    choices: ["auto", "dummy"],
    help: "dummy: random weights made on the device, --model names a config.json",
    default: "auto",
  },
  "block-size": {
    kind: "choice",
    choices: ["16", "32", "64"],
    help: "Tokens a KV block",
    default: "16",
  },
  "enable-prefix-caching": {
    kind: "switch",
    help: "Requests share KV blocks of equal prefixes; --no-enable-prefix-caching",
    default: "on",
  },
  "max-model-len": count("Prompt and output together, in tokens", { default: "the model's" }),
  "max-num-seqs": count("Sequences that run at a time", { max: 65536, default: "128" }),
  "max-num-batched-tokens": count("Token budget of a scheduler step", {
    default: "512; on CUDA 2048",
  }),
  "max-queued-requests": count("Waiting requests at most; then 429", { default: "1024" }),
  "max-queued-tokens": count("Waiting prompt tokens at most; then 429", { default: "4194304" }),
  "help": { kind: "action", help: "Show this and leave" },
  "version": { kind: "action", help: "Show the version and leave" },
} as const satisfies Record<string, Flag>;

/** All that a server is told when it starts. */
export interface Settings {
  readonly help: boolean;
  readonly version: boolean;
  readonly host: string;
  readonly port: number;
  readonly drainTimeoutMs: number;
  /** Undefined: the default model. */
  readonly model: string | undefined;
  readonly engine: EngineOptions;
  readonly instance: InstanceOptions;
}

/** Reads flags over `HEARTH_*` variables. @throws {FlagError} */
export function readSettings(
  args: readonly string[],
  variable: (name: string) => string | undefined = (name) => Deno.env.get(name),
): Settings {
  const flags = parseFlags(FLAGS, args, variable);
  const { "api-key": apiKeys = [] } = flags;
  if (apiKeys.some((key) => !/^[\x21-\x7e]+$/.test(key))) {
    throw new FlagError("Cannot read --api-key: a key must be printable ASCII without spaces");
  }
  const odd = flags["allowed-host"]?.find((name) => !/^([^\s:/]+|\[[0-9a-f:.]+\])$/i.test(name));
  if (odd !== undefined) {
    throw new FlagError(
      `Cannot read --allowed-host: a name must stand alone, without a port: current value is ${odd}`,
    );
  }
  return {
    help: flags.help ?? false,
    version: flags.version ?? false,
    host: flags.host ?? "127.0.0.1",
    port: flags.port ?? 8000,
    drainTimeoutMs: (flags["drain-timeout"] ?? 30) * 1000,
    model: flags.model,
    engine: present({
      device: flags.device as NonNullable<EngineOptions["device"]> | undefined,
      numThreads: flags["num-threads"],
      isa: flags.isa,
      activationDtype: flags["activation-dtype"],
      kvCacheDtype: flags["kv-cache-dtype"],
      kvCacheMemoryBytes: flags["kv-cache-memory-bytes"],
      gpuMemoryUtilization: flags["gpu-memory-utilization"],
      loadFormat: flags["load-format"],
      blockSize: flags["block-size"] === undefined ? undefined : Number(flags["block-size"]),
      enablePrefixCaching: flags["enable-prefix-caching"],
      maxModelLen: flags["max-model-len"],
      maxNumSeqs: flags["max-num-seqs"],
      maxNumBatchedTokens: flags["max-num-batched-tokens"],
      maxQueuedRequests: flags["max-queued-requests"],
      maxQueuedTokens: flags["max-queued-tokens"],
    }),
    instance: {
      ...DEFAULT_INSTANCE_OPTIONS,
      ...present({
        apiKeys,
        allowedHosts: flags["allowed-host"],
        sharePrefixesAcrossKeys: flags["share-prefixes-across-keys"],
        servedModelNames: flags["served-model-name"],
        generationConfig: flags["generation-config"],
        bodyLimitBytes: flags["body-limit"],
        corsOrigins: flags["cors-origin"],
        accessLog: flags["log-format"],
        logProbes: flags["log-probes"],
      }),
    },
  };
}

/** What `--help` prints. */
export function settingsHelp(): string {
  return `deno task serve [flags]\n\n${flagHelp(FLAGS)}\n\n` +
    "Each flag is a variable too: --max-model-len is HEARTH_MAX_MODEL_LEN. A flag wins.";
}

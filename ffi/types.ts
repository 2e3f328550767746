/**
 * What an engine of the library is opened with and what it tells, in TypeScript's types.
 *
 * @module
 */

/** Options of an engine. Flags of `deno task serve` carry the same names in kebab-case. */
export interface EngineOptions {
  // #region ENGINE_OPTIONS
  /** Where the model runs; auto is the first CUDA device, else the CPU. [auto] */
  readonly device?: "auto" | "cpu" | "cuda" | `cuda:${number}`;
  /** CPU threads, to compute or (CUDA) to load weights. [the cores this process may use] */
  readonly numThreads?: number;
  /** Forces an instruction path of the CPU backend. [auto] */
  readonly isa?: "auto" | "generic" | "avx2" | "avx512" | "amx";
  /**
   * fp32 is exact; auto is int8 for quantized weights and fp32 for others on the CPU, the
   * weights' 16-bit type on CUDA, where int8 is not supported. [auto]
   */
  readonly activationDtype?: "auto" | "fp32" | "int8";
  /** auto is fp32 with fp32 activations, else 16 bits; bf16 on CUDA alone. [auto] */
  readonly kvCacheDtype?: "auto" | "fp32" | "fp16" | "bf16";
  /** Tokens a KV block; 16, 32 or 64. [16] */
  readonly blockSize?: number;
  /** Prompt and output together, in tokens. [the model's] */
  readonly maxModelLen?: number;
  /** Sequences that run at a time; from 1 to 65536. [128] */
  readonly maxNumSeqs?: number;
  /** Token budget of a scheduler step; from 1 to 65536. [512; on CUDA 2048] */
  readonly maxNumBatchedTokens?: number;
  /**
   * A step that computes prompts lasts no longer, by measured ones: others wait so long at most;
   * 0: no bound; from 0 to 60000. [150]
   */
  readonly maxStepMs?: number;
  /**
   * Memory of the KV blocks. [what `maxNumSeqs` sequences can use; at most a quarter of free
   * memory on the CPU, what `gpuMemoryUtilization` leaves on CUDA]
   */
  readonly kvCacheMemoryBytes?: number;
  /** Overrides `kvCacheMemoryBytes`; for tests. */
  readonly numKvBlocks?: number;
  /** Requests that may wait for a free sequence; one more is refused (over HTTP, 429). [1024] */
  readonly maxQueuedRequests?: number;
  /** Prompt tokens that may wait, as `maxQueuedRequests`. [4194304] */
  readonly maxQueuedTokens?: number;
  /**
   * Output of all requests that waits for its readers, a quarter of it of one; what is more ends.
   * [512MiB]
   */
  readonly maxUnreadBytes?: number;
  /** CUDA: share of the device's memory that may be taken; above 0, at most 1. [0.9] */
  readonly gpuMemoryUtilization?: number;
  /**
   * dummy: random weights made on the device, for benchmarks; the model is a config.json. [auto]
   */
  readonly loadFormat?: "auto" | "dummy";
  /** Steps staged at once; 1 or 2. [1 on the CPU, 2 on CUDA] */
  readonly pipelineDepth?: number;
  /** Share KV blocks of equal prefixes between requests. [true] */
  readonly enablePrefixCaching?: boolean;
  /** A waiting request gains one priority level each so many milliseconds. [1000] */
  readonly priorityAgeingMs?: number;
  /**
   * Control tokens spelled out in messages are such, as in prompts; callers can then write
   * others' turns. [false]
   */
  readonly trustMessageTokens?: boolean;
  /** Path of libhearth.so. [build/libhearth.so beside this package, or HEARTH_LIBRARY] */
  readonly library?: string;
  // #endregion
}

/** Progress and gauges; counters since open. */
export interface EngineStats {
  /** Where its life stands. */
  readonly state: "loading" | "ready" | "failed" | "closing" | "closed";
  /** Of the weights, so far. */
  readonly bytesLoaded: number;
  /** Of the weights. */
  readonly bytesTotal: number;
  /** Requests that have KV blocks. */
  readonly numRequestsRunning: number;
  /** Requests in the queue. */
  readonly numRequestsWaiting: number;
  /** Sequences of running requests. */
  readonly numSequencesRunning: number;
  /** Prompt tokens that wait. */
  readonly numQueuedTokens: number;
  /** KV blocks: without content, with content that nobody holds, held by running sequences. */
  readonly kvBlocks: {
    readonly total: number;
    readonly free: number;
    readonly cached: number;
    readonly held: number;
  };
  /** Prompt tokens of all requests. */
  readonly numPromptTokens: number;
  /** Those of them found in the warm KV cache. */
  readonly numPromptTokensCached: number;
  /** Output tokens that count. */
  readonly numGenerationTokens: number;
  /** Requests that were queued. */
  readonly numRequestsSubmitted: number;
  /** Sequences that ended, by reason. */
  readonly numFinished: Readonly<Record<FinishReason | "error", number>>;
  /** Times that a running request gave its KV blocks up. */
  readonly numPreemptions: number;
  /** Scheduler steps. */
  readonly numSteps: number;
  /** Input tokens computed. */
  readonly numStepTokens: number;
  /** Time in steps. */
  readonly stepSeconds: number;
  /** Bytes moved, by the ops' cost functions. */
  readonly stepBytes: number;
  /** Arithmetic, by the ops' cost functions. */
  readonly stepFlops: number;
  /** Memory of the weights. */
  readonly weightsBytes: number;
  /** Memory of the KV blocks. */
  readonly kvBytes: number;
  /** Memory of a step. */
  readonly workspaceBytes: number;
  /** Until a request queued now would start, from measured rates. */
  readonly expectedWaitMs: number;
  /** Time that loading the weights took. */
  readonly loadSeconds: number;
  /** Prompt and output together, in tokens. */
  readonly maxModelLen: number;
  /** Sequences that run at a time. */
  readonly maxNumSeqs: number;
  /** Token budget of a step. */
  readonly maxNumBatchedTokens: number;
  /** Tokens a KV block. */
  readonly blockSize: number;
  /** CPU compute threads. */
  readonly numThreads: number;
  /** In use; `auto` where it is not chosen yet. */
  readonly isa: NonNullable<EngineOptions["isa"]>;
  /** Of what linear ops take; fp32 is the exact path. */
  readonly activationDtype: "auto" | "fp32" | "fp16" | "bf16" | "int8";
  /** Of the KV blocks. */
  readonly kvCacheDtype: "auto" | "fp32" | "fp16" | "bf16" | "int8";
  /** What computes. */
  readonly device: "auto" | "cpu" | "cuda";
  /** Among devices of its kind. */
  readonly deviceIndex: number;
  /** Allocations of device memory since the engine was ready: steps make none. */
  readonly numAllocations: number;
  /** CUDA: kernels launched. */
  readonly numLaunches: number;
  /** CUDA: time that the device was busy with steps. */
  readonly deviceSeconds: number;
}

/** Why a sequence ended. */
export type FinishReason = "stop" | "length" | "cancelled" | "deadline";

/** A token with its log probability (natural logarithm, of the raw logits). */
export interface TokenLogprob {
  /** Id in the vocabulary. */
  readonly token: number;
  /** At most 0. */
  readonly logprob: number;
}

/** A token's log probability beside the likeliest at its position, best first. */
export interface PositionLogprobs extends TokenLogprob {
  /** As many as were asked for. */
  readonly top: readonly TokenLogprob[];
}

/**
 * What goes into the engine and what comes out: the border between `engine/` and its callers, the
 * functions and people's own programs.
 *
 * @module
 */
import type { TemplateMessage } from "../model/spec.ts";

/** How tokens are chosen. Every field is optional; defaults in brackets. */
export interface SamplingParameters {
  /**
   * Output tokens at most; at least 1, or 0 with `promptLogprobs`. More than the prompt leaves of
   * `maxModelLen` is an error, not cut. [what the prompt leaves]
   */
  readonly maxTokens?: number;
  /** Stop tokens cannot be chosen before this many tokens. [0] */
  readonly minTokens?: number;
  /** 0 is greedy; at most 2. [1] */
  readonly temperature?: number;
  /** Nucleus: the smallest set whose probability reaches this; in (0, 1]. [1] */
  readonly topP?: number;
  /** Only the k most likely; 0 is off. [0] */
  readonly topK?: number;
  /** Only tokens at least this fraction as likely as the best; in [0, 1]. [0] */
  readonly minP?: number;
  /** Over prompt and output, greater than 0, as Transformers; 1 is off. [1] */
  readonly repetitionPenalty?: number;
  /** Once for every token that the output has; in [-2, 2]. [0] */
  readonly presencePenalty?: number;
  /** For every occurrence in the output; in [-2, 2]. [0] */
  readonly frequencyPenalty?: number;
  /** The same seed gives the same text, whatever else runs. [random] */
  readonly seed?: number | bigint;
  /** Texts that end a sequence; at most 16. [none] */
  readonly stop?: readonly string[];
  /** Keep the stop text in the output. [false] */
  readonly includeStop?: boolean;
  /** Token ids that end a sequence, beside the model's own. [none] */
  readonly stopTokenIds?: readonly number[];
  /** Go on past the model's end-of-text tokens. [false] */
  readonly ignoreEos?: boolean;
  /** Added to a token's logit, in [-100, 100]; -100 bans it. [none] */
  readonly logitBias?: ReadonlyMap<number, number>;
  /** Token sequences that may not appear. [none] */
  readonly badWords?: readonly (readonly number[])[];
  /** Continuations of the one prompt, 1 to 128. [1] */
  readonly n?: number;
  /** Log probabilities of the chosen token and of this many of the likeliest, 0 to 20. [none] */
  readonly logprobs?: number;
  /** The same for the prompt's own tokens. [none] */
  readonly promptLogprobs?: number;
  /** Leave control tokens out of the text. [true] */
  readonly skipSpecialTokens?: boolean;
}

/** A request: exactly one of `prompt`, `tokens` and `messages`. */
export interface GenerateRequest extends SamplingParameters {
  /** Text to continue. */
  readonly prompt?: string;
  /** The same as token ids. */
  readonly tokens?: readonly number[];
  /** A chat, to be rendered by the model's template. */
  readonly messages?: readonly TemplateMessage[];
  /** Add BOS and the like to `prompt`. [true; messages: the template decides] */
  readonly addSpecialTokens?: boolean;
  /** 0 goes first, then 1, and so on; then the order of arrival. [0] */
  readonly priority?: number;
  /** Milliseconds from now until the last token. [none] */
  readonly deadlineMs?: number;
  /** Requests share warm prompt blocks only under the same salt. [""] */
  readonly salt?: string;
  /** Ends the request and frees its blocks. */
  readonly signal?: AbortSignal;
}

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

/** Why a sequence ended. */
export type FinishReason = "stop" | "length" | "cancelled" | "deadline";

/**
 * A piece of one sequence's output. `text` never holds half a character nor the beginning of what may
 * yet turn out to be a stop text, so it may be empty while `tokens` is not.
 */
export interface GenerateChunk {
  /** Sequence, 0 to n - 1. */
  readonly index: number;
  /** May be empty. */
  readonly text: string;
  /** Ids of the tokens that are new. */
  readonly tokens: readonly number[];
  /** One for each of `tokens`, when asked for. */
  readonly logprobs: readonly PositionLogprobs[] | undefined;
  /** Null but in a sequence's last chunk. */
  readonly finishReason: FinishReason | null;
  /** The stop text or token id that ended it; null for the model's own end of text. */
  readonly stopReason: string | number | null;
}

/** A request under way; iterate it for its chunks, once. Leaving the loop cancels the request. */
export interface Generation extends AsyncIterable<GenerateChunk> {
  /**
   * Resolves when the prompt is encoded and the request is queued; rejects with the
   * {@linkcode EngineError} that refused it (too long, queue full, ...). The loop throws the same, so
   * only those who must know before the first chunk, such as an HTTP status, need to wait for it.
   */
  readonly accepted: Promise<void>;
  /** Ids of the prompt as the model gets it; empty until `accepted` resolves. */
  readonly promptTokens: readonly number[];
  /** Prompt tokens found in the warm KV cache; known from the first chunk on, 0 before. */
  readonly numCachedTokens: number;
  /** Milliseconds from its submission to its first step; known from the first chunk on. */
  readonly queueMs: number | undefined;
  /** Output tokens that count, over all sequences, so far. */
  readonly numOutputTokens: number;
  /** One for each prompt token (the first has none: undefined), when asked for; complete at the first chunk. */
  readonly promptLogprobs: readonly (PositionLogprobs | undefined)[] | undefined;
  /** End it now. Harmless when it has ended. */
  cancel(): void;
}

/** What a machine-readable error says; each maps to one HTTP status in `functions/errors.ts`. */
export type EngineErrorCode =
  | "invalid_argument"
  | "context_length_exceeded"
  | "queue_full"
  | "deadline"
  | "not_ready"
  | "closing"
  | "out_of_memory"
  | "unsupported"
  | "device_lost"
  | "io_error"
  | "internal";

/** What an {@linkcode EngineError} tells programs beside its code; all of it may be absent. */
export interface EngineErrorDetails {
  /** The field at fault, in the camelCase of {@linkcode GenerateRequest} and {@linkcode EngineOptions}. */
  readonly field?: string | undefined;
  /** What must hold of it, to be read behind "must": `be 0 to 2`. */
  readonly rule?: string | undefined;
  /** What it held, as text. */
  readonly value?: string | undefined;
  /** For `queue_full` and `deadline`: when trying again makes sense. */
  readonly retryAfterMs?: number | undefined;
}

/** A request or an engine that cannot be served. */
export class EngineError extends Error implements EngineErrorDetails {
  /** For `error.name` and messages. */
  override name = "EngineError";
  /** See {@linkcode EngineErrorDetails}. */
  readonly field: string | undefined;
  /** See {@linkcode EngineErrorDetails}. */
  readonly rule: string | undefined;
  /** See {@linkcode EngineErrorDetails}. */
  readonly value: string | undefined;
  /** See {@linkcode EngineErrorDetails}. */
  readonly retryAfterMs: number | undefined;
  /** The message names the field, its value and what is allowed. */
  constructor(
    /** For programs. */
    readonly code: EngineErrorCode,
    message: string,
    details: EngineErrorDetails = {},
  ) {
    super(message);
    this.field = details.field;
    this.rule = details.rule;
    this.value = details.value;
    this.retryAfterMs = details.retryAfterMs;
  }
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
  readonly isa: "auto" | "generic" | "avx2" | "avx512" | "amx";
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

/** Options of an engine. Flags of `deno task serve` carry the same names in kebab-case. */
export interface EngineOptions {
  /** auto is the first CUDA device, else the CPU. [auto] */
  readonly device?: "auto" | "cpu" | "cuda" | `cuda:${number}`;
  /** CPU threads, to compute or (CUDA) to load weights. [the cores this process may use] */
  readonly numThreads?: number;
  /** Forces an instruction path of the CPU backend. [auto] */
  readonly isa?: "auto" | "generic" | "avx2" | "avx512" | "amx";
  /**
   * fp32 is the exact path. auto is int8 for quantized weights and fp32 for others on the CPU, the
   * weights' 16-bit type on CUDA, where int8 is not supported. [auto]
   */
  readonly activationDtype?: "auto" | "fp32" | "int8";
  /** auto is fp32 with fp32 activations, else 16 bits; bf16 on CUDA alone. [auto] */
  readonly kvCacheDtype?: "auto" | "fp32" | "fp16" | "bf16";
  /** Tokens a KV block: 16, 32 or 64. [16] */
  readonly blockSize?: number;
  /** Prompt and output together, in tokens. [the model's] */
  readonly maxModelLen?: number;
  /** Sequences that run at a time. [128] */
  readonly maxNumSeqs?: number;
  /** Token budget of a scheduler step. [512; on CUDA 2048] */
  readonly maxNumBatchedTokens?: number;
  /** Memory of the KV blocks. [what `maxNumSeqs` sequences can use; at most a quarter of free memory on the CPU, what `gpuMemoryUtilization` leaves on CUDA] */
  readonly kvCacheMemoryBytes?: number;
  /** Overrides `kvCacheMemoryBytes`; for tests. */
  readonly numKvBlocks?: number;
  /** Requests that may wait. [1024] */
  readonly maxQueuedRequests?: number;
  /** Prompt tokens that may wait. [4,194,304] */
  readonly maxQueuedTokens?: number;
  /** CUDA: share of the device's memory that may be taken, above 0 and at most 1. [0.9] */
  readonly gpuMemoryUtilization?: number;
  /** dummy: random weights made on the device, for benchmarks. [auto] */
  readonly loadFormat?: "auto" | "dummy";
  /** Steps staged at once, 1 or 2. [1 on the CPU, 2 on CUDA] */
  readonly pipelineDepth?: number;
  /** Share KV blocks of equal prefixes between requests. [true] */
  readonly enablePrefixCaching?: boolean;
  /** A waiting request gains one priority level each so many milliseconds. [1000] */
  readonly priorityAgeingMs?: number;
  /** Path of libhearth.so. [build/libhearth.so beside this package, or HEARTH_LIBRARY] */
  readonly library?: string;
}

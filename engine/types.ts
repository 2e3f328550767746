/**
 * What goes into the engine and what comes out: the border between `engine/` and its callers, the
 * functions and people's own programs.
 *
 * @module
 */
import type { LogprobList } from "../ffi/logprobs.ts";
import type { FinishReason, PositionLogprobs } from "../ffi/types.ts";
import type { ConversationOptions, Message } from "./conversation/types.ts";

export {
  EngineError,
  type EngineErrorCode,
  type EngineErrorDetails,
  ruleSentence,
} from "../ffi/errors.ts";
export { LogprobList } from "../ffi/logprobs.ts";
export type {
  EngineOptions,
  EngineStats,
  FinishReason,
  PositionLogprobs,
  TokenLogprob,
} from "../ffi/types.ts";
export type { ConversationOptions, Message, TextPart, ToolCall } from "./conversation/types.ts";

/** How tokens are chosen. Every field is optional; defaults in brackets. */
export interface SamplingParameters {
  // #region SAMPLING_FIELDS
  /**
   * Output tokens at most; at least 1, or 0 with `promptLogprobs`. More than the prompt leaves of
   * `maxModelLen` is an error, not cut. [what the prompt leaves]
   */
  readonly maxTokens?: number;
  /** Stop tokens cannot be chosen before this many tokens. [0] */
  readonly minTokens?: number;
  /** 0 is greedy; from 0 to 2. [1] */
  readonly temperature?: number;
  /** Nucleus: the smallest set whose probability reaches this; 0 is greedy; from 0 to 1. [1] */
  readonly topP?: number;
  /** Only the k most likely; 0 is off. [0] */
  readonly topK?: number;
  /** Only tokens at least this fraction as likely as the best; from 0 to 1. [0] */
  readonly minP?: number;
  /** Over prompt and output, as Transformers; 1 is off; above 0. [1] */
  readonly repetitionPenalty?: number;
  /** Once for every token that the output has; from -2 to 2. [0] */
  readonly presencePenalty?: number;
  /** For every occurrence in the output; from -2 to 2. [0] */
  readonly frequencyPenalty?: number;
  /**
   * The same seed gives the same text, whatever else runs; up to 64 bits, below 0 is random.
   * [random]
   */
  readonly seed?: number | bigint;
  /** Texts that end a sequence; at most 16, of at most 1,024 characters each. [none] */
  readonly stop?: readonly string[];
  /** Keep the stop text in the output. [false] */
  readonly includeStop?: boolean;
  /** Token ids that end a sequence, beside the model's own. [none] */
  readonly stopTokenIds?: readonly number[];
  /** Go on past the model's end-of-text tokens. [false] */
  readonly ignoreEos?: boolean;
  /** Added to a token's logit; -100 bans it. [none] */
  readonly logitBias?: ReadonlyMap<number, number>;
  /** Token sequences that may not appear. [none] */
  readonly badWords?: readonly (readonly number[])[];
  /** Continuations of the one prompt; from 1 to 128. [1] */
  readonly n?: number;
  /**
   * Log probabilities of the chosen token and of this many of the likeliest; from 0 to 20. [none]
   */
  readonly logprobs?: number;
  /** As `logprobs`, for the prompt's own tokens; from 0 to 20. [none] */
  readonly promptLogprobs?: number;
  /** Leave control tokens out of the text. [true] */
  readonly skipSpecialTokens?: boolean;
  // #endregion
}

/**
 * A request: exactly one of `prompt`, `tokens` and `messages`; what says how messages become a text, with
 * those alone.
 */
export interface GenerateRequest extends SamplingParameters, ConversationOptions {
  /** Text to continue. */
  readonly prompt?: string;
  /** The same as token ids. */
  readonly tokens?: readonly number[];
  /** A chat, to be rendered by the model's template. */
  readonly messages?: readonly Message[];
  // #region WHOLE_REQUEST_FIELDS
  /** Add BOS and the like to what is encoded. [true; messages: false, as templates have them] */
  readonly addSpecialTokens?: boolean;
  /**
   * Among those of its caller 0 goes first, then 1, and so on; then the order of arrival. A
   * server takes those below 0 only if it was told to; from -1000 to 1000. [0]
   */
  readonly priority?: number;
  /** Milliseconds from now until the last token; refused at once where it cannot be met. [none] */
  readonly deadlineMs?: number;
  /** Compute the whole prompt, though blocks of it are warm. [false] */
  readonly skipReadingPrefixCache?: boolean;
  /** Whose it is: callers who wait have turns, by the tokens that were computed for them. [""] */
  readonly caller?: string;
  /** A caller of weight 2 gets twice as many; from 1 to 1000. [1] */
  readonly callerWeight?: number;
  /** Requests share warm prompt blocks only under the same salt. [""] */
  readonly salt?: string;
  // #endregion
  /** Ends the request and frees its blocks. */
  readonly signal?: AbortSignal;
}

/** A stretch of an output that is all of one kind. */
export interface Part {
  /** What the model thought before it answered, or the answer. */
  readonly kind: "reasoning" | "text";
  /** Without the markers that stood around it. */
  readonly text: string;
}

/**
 * What is new of one sequence's output. `text` never holds half a character nor the beginning of what
 * may yet turn out to be a stop text, so it may be empty while `tokens` is not.
 */
export interface GenerateChunk {
  /** Sequence, 0 to n - 1. */
  readonly index: number;
  /** Of the answer; may be empty. */
  readonly text: string;
  /** The same and the reasoning, in order; no two of a kind beside each other, none empty. */
  readonly parts: readonly Part[];
  /** Ids of the tokens that are new. */
  readonly tokens: readonly number[];
  /** One for each of `tokens`, when asked for. */
  readonly logprobs: LogprobList | undefined;
  /** Null but in a sequence's last chunk. */
  readonly finishReason: FinishReason | null;
  /** The stop text or token id that ended it; null for the model's own end of text. */
  readonly stopReason: string | number | null;
}

/** A sequence that has ended, whole. */
export interface SequenceResult extends GenerateChunk {
  /** Why. */
  readonly finishReason: FinishReason;
}

/** All that a request gave. */
export interface RunResult {
  /** Ids of the prompt as the model got it. */
  readonly promptTokens: readonly number[];
  /** Those of them found in the warm KV cache. */
  readonly numCachedTokens: number;
  /** One for each prompt token (the first has none: undefined), when asked for. */
  readonly promptLogprobs: readonly (PositionLogprobs | undefined)[] | undefined;
  /** One for each of the n continuations. */
  readonly sequences: readonly SequenceResult[];
}

/**
 * A request under way. It can be iterated, more than once and by several loops at a time: each begins
 * at the beginning, and one that reads slowly gets fewer, longer chunks. When the last loop is left
 * early and nobody awaits the result, the request is cancelled.
 *
 * What is kept for readers is bounded (`maxUnreadBytes`): a loop that falls behind by more, and a result that
 * has more, fail with `output_too_long`.
 */
export interface Run extends AsyncIterable<GenerateChunk> {
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
  /** Output tokens that count, over all sequences, so far. */
  readonly numOutputTokens: number;
  /** One for each prompt token (the first has none: undefined), when asked for; complete at the first chunk. */
  readonly promptLogprobs: readonly (PositionLogprobs | undefined)[] | undefined;
  /** All of it, at its end. Rejects with what the loop would throw. */
  result(): Promise<RunResult>;
  /** The answer's text, of the first sequence, at its end. */
  text(): Promise<string>;
  /** End it now. Harmless when it has ended. */
  cancel(): void;
}

/** Told of a run's events as they come, whether anybody reads it or not. */
export interface RunObserver {
  /** Its prompt is encoded and waits for its first step. */
  queued?(): void;
  /** Its first step begins, so many milliseconds after it was queued. */
  started?(queueMs: number): void;
  /** So many tokens of a sequence came out. */
  tokens?(index: number, count: number): void;
}

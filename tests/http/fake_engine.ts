/**
 * An engine without a model, for tests of the functions alone: tokens are bytes, the answer is
 * always the same sentence over and over, and time passes only where a test asks for it.
 *
 * @module
 */
import { type Preparation, prepare, type PreparedRequest } from "../../engine/prepare.ts";
import {
  EngineError,
  type EngineStats,
  type FinishReason,
  type GenerateChunk,
  type GenerateRequest,
  type Generation,
  type PositionLogprobs,
} from "../../engine/types.ts";
import type { ServedEngine } from "../../functions/env.ts";
import type { Tokenizer } from "../../model/spec.ts";

const BOS = 256;
const EOS = 257;
const VOCAB_SIZE = 258;
const ANSWER = "Grüße aus dem Herd. 🔥 ";
const utf8 = new TextEncoder();

/** Bytes, a begin and an end. */
const byteTokenizer: Tokenizer = {
  vocabSize: VOCAB_SIZE,
  bosToken: "<s>",
  eosToken: "</s>",
  encode: (text, options) => [...(options?.addSpecialTokens ? [BOS] : []), ...utf8.encode(text)],
  decode: (tokens, { skipSpecialTokens = true } = {}) =>
    new TextDecoder().decode(Uint8Array.from(tokens.flatMap((token) => {
      return token < 256 ? [token] : skipSpecialTokens ? [] : [...utf8.encode(textOf(token))];
    }))),
  tokenText: (token) => token < VOCAB_SIZE ? textOf(token) : undefined,
  tokenBytes: (token) => token < 256 ? Uint8Array.of(token) : utf8.encode(textOf(token)),
  isSpecial: (token) => token >= 256,
};

function textOf(token: number): string {
  return token === BOS ? "<s>" : token === EOS ? "</s>" : String.fromCharCode(token);
}

/** What a test may bend. */
export interface FakeEngineOptions {
  readonly maxModelLen?: number;
  /** Waits before each token. */
  readonly tokenMs?: number;
  /** Waits before the first one. */
  readonly prefillMs?: number;
  /** Fails after so many tokens. */
  readonly failAfter?: number;
  /** With what; without it a defect. */
  readonly failure?: EngineError;
  /** Requests at a time; one more is refused as if the queue were full. */
  readonly maxRequests?: number;
  readonly state?: EngineStats["state"];
}

/** See the module's comment. */
export class FakeEngine implements ServedEngine {
  readonly model: ServedEngine["model"] = {
    name: "fake",
    samplingDefaults: {},
    architecture: "fake",
    tokenizer: byteTokenizer,
    chatTemplate: {
      render(messages, { addGenerationPrompt }) {
        const turns = messages.map(({ role, content }) => `${role}: ${content}\n`).join("");
        return turns + (addGenerationPrompt ? "assistant: " : "");
      },
    },
  };
  readonly maxModelLen: number;
  readonly fingerprint = "fp_0123456789abcdef";
  readonly ready = Promise.resolve();
  /** Requests as they came, for tests to look at. */
  readonly requests: GenerateRequest[] = [];
  state: EngineStats["state"];
  failure: EngineError | undefined;
  bytesLoaded = 0;
  #running = new Set<FakeGeneration>();
  #counts = { prompt: 0, generated: 0, submitted: 0 };
  #finished: Record<FinishReason | "error", number> = {
    stop: 0,
    length: 0,
    cancelled: 0,
    deadline: 0,
    error: 0,
  };

  constructor(readonly options: FakeEngineOptions = {}) {
    this.maxModelLen = options.maxModelLen ?? 2048;
    this.state = options.state ?? "ready";
  }

  generate(request: GenerateRequest): Generation {
    const limits = {
      vocabSize: VOCAB_SIZE,
      maxModelLen: this.maxModelLen,
      maxNumSeqs: 64,
      eosTokenIds: [EOS],
    };
    const preparation = prepare(request, {
      model: this.model,
      limits,
      encode: (text, options) => byteTokenizer.encode(text, options),
    });
    if (this.#running.size >= (this.options.maxRequests ?? 1000)) {
      throw new EngineError(
        "queue_full",
        "Cannot submit request: the queue is full",
        { retryAfterMs: 2500 },
      );
    }
    this.requests.push(request);
    const generation = new FakeGeneration(this.options, request, preparation, {
      maxModelLen: this.maxModelLen,
      ended: (reason) => {
        this.#running.delete(generation);
        this.#finished[reason]++;
        this.#counts.generated += generation.numOutputTokens;
      },
    });
    this.#running.add(generation);
    this.#counts.submitted++;
    this.#counts.prompt += generation.promptTokens.length;
    return generation;
  }

  tokenize(text: string, options?: { readonly addSpecialTokens?: boolean }): Promise<number[]> {
    return Promise.resolve(byteTokenizer.encode(text, options));
  }

  detokenize(
    tokens: readonly number[],
    options?: { readonly skipSpecialTokens?: boolean },
  ): string {
    return byteTokenizer.decode(tokens, options);
  }

  stats(): EngineStats {
    const held = this.#running.size;
    return {
      state: this.state,
      bytesLoaded: this.bytesLoaded,
      bytesTotal: 1000,
      numRequestsRunning: held,
      numRequestsWaiting: 0,
      numSequencesRunning: held,
      numQueuedTokens: 0,
      kvBlocks: { total: 100, free: 100 - held, cached: 0, held },
      numPromptTokens: this.#counts.prompt,
      numPromptTokensCached: 0,
      numGenerationTokens: this.#counts.generated,
      numRequestsSubmitted: this.#counts.submitted,
      numFinished: this.#finished,
      numPreemptions: 0,
      numSteps: 0,
      numStepTokens: 0,
      stepSeconds: 0,
      stepBytes: 0,
      stepFlops: 0,
      weightsBytes: 1000,
      kvBytes: 2000,
      workspaceBytes: 3000,
      expectedWaitMs: 0,
      loadSeconds: 0,
      maxModelLen: this.maxModelLen,
      maxNumSeqs: 64,
      maxNumBatchedTokens: 512,
      blockSize: 16,
      numThreads: 1,
      isa: "generic",
      activationDtype: "fp32",
      kvCacheDtype: "fp32",
      device: "cpu",
      deviceIndex: 0,
      numAllocations: 0,
      numLaunches: 0,
      deviceSeconds: 0,
    };
  }

  describe(): string {
    return "device: none\nkernels: none\n";
  }

  stop(_options?: { readonly drain?: boolean }): Promise<void> {
    this.#running.forEach((generation) => generation.cancel());
    return Promise.resolve();
  }

  close(): Promise<void> {
    return this.stop();
  }
}

interface FakeLimits {
  readonly maxModelLen: number;
  readonly ended: (reason: FinishReason | "error") => void;
}

class FakeGeneration implements Generation {
  readonly accepted: Promise<void>;
  readonly promptTokens: readonly number[] = [];
  readonly numCachedTokens = 0;
  readonly queueMs = 3;
  readonly promptLogprobs: readonly (PositionLogprobs | undefined)[] | undefined;
  numOutputTokens = 0;
  #maxTokens = 0;
  #ended = false;
  #cancelled = Promise.withResolvers<void>();

  constructor(
    readonly options: FakeEngineOptions,
    readonly request: GenerateRequest,
    preparation: Preparation<PreparedRequest>,
    readonly limits: FakeLimits,
  ) {
    try {
      const { promptTokens, native } = preparation.encode();
      this.promptTokens = promptTokens;
      this.#maxTokens = native.maxTokens;
      this.accepted = Promise.resolve();
    } catch (error) {
      this.accepted = Promise.reject(error);
      this.accepted.catch(() => {});
      queueMicrotask(() => this.#end("error"));
    }
    if (request.promptLogprobs !== undefined) {
      this.promptLogprobs = this.promptTokens.map((token, i) =>
        i === 0 ? undefined : scored(token, request.promptLogprobs)
      );
    }
    request.signal?.addEventListener("abort", () => this.cancel());
  }

  cancel(): void {
    this.#end("cancelled");
    this.#cancelled.resolve();
  }

  #end(reason: FinishReason | "error"): void {
    if (this.#ended) return;
    this.#ended = true;
    this.limits.ended(reason);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<GenerateChunk> {
    try {
      await this.accepted;
      await this.#pause(this.options.prefillMs ?? 0);
      const { n = 1 } = this.request;
      const sequences = Array.from({ length: n }, (_, index) => this.#sequence(index));
      while (sequences.length > 0) {
        for (const sequence of [...sequences]) {
          await this.#pause(this.options.tokenMs ?? 0);
          const { done, value } = sequence.next();
          if (done) sequences.splice(sequences.indexOf(sequence), 1);
          else yield value;
        }
      }
      this.#end("length");
    } finally {
      this.cancel();
    }
  }

  async #pause(ms: number): Promise<void> {
    if (ms > 0 && !this.#ended) {
      const timer = Promise.withResolvers<void>();
      const id = setTimeout(timer.resolve, ms);
      await Promise.race([timer.promise, this.#cancelled.promise]);
      clearTimeout(id);
    }
    if (this.request.signal?.aborted) throw this.request.signal.reason;
  }

  /** A chunk a token; a stop text, which may begin in an earlier one, never shows. */
  *#sequence(index: number): Generator<GenerateChunk> {
    const { stop = [], logprobs } = this.request;
    const room = Math.min(
      this.#maxTokens,
      this.limits.maxModelLen - this.promptTokens.length,
    );
    const bytes = utf8.encode(ANSWER.repeat(Math.ceil(room / ANSWER.length))).subarray(0, room);
    const whole = new TextDecoder().decode(bytes, { stream: true });
    const found =
      stop.map((text) => ({ text, at: whole.indexOf(text) })).filter(({ at }) => at >= 0)
        .sort((a, b) => a.at - b.at)[0];
    const end = found === undefined ? Infinity : found.at + found.text.length;
    const decoder = new TextDecoder();
    let numChars = 0;
    for (let i = 0; i < room; i++) {
      if (this.#ended) return yield this.#chunk(index, { finishReason: "cancelled" });
      if (i === this.options.failAfter) {
        this.#end("error");
        throw this.options.failure ??
          new EngineError("internal", "Cannot run step: the fake has failed");
      }
      const token = bytes[i]!;
      const piece = decoder.decode(Uint8Array.of(token), { stream: true });
      const text = piece.slice(0, Math.max(0, (found?.at ?? Infinity) - numChars));
      numChars += piece.length;
      this.numOutputTokens++;
      const stopped = numChars >= end;
      yield this.#chunk(index, {
        text,
        tokens: [token],
        ...(logprobs !== undefined && { logprobs: [scored(token, logprobs)] }),
        finishReason: stopped ? "stop" : i + 1 === room ? "length" : null,
        stopReason: stopped ? found!.text : null,
      });
      if (stopped) return;
    }
    if (room === 0) yield this.#chunk(index, { finishReason: "length" });
  }

  #chunk(index: number, rest: Partial<GenerateChunk>): GenerateChunk {
    return {
      index,
      text: "",
      tokens: [],
      logprobs: undefined,
      finishReason: null,
      stopReason: null,
      ...rest,
    };
  }
}

function scored(token: number, numTop = 0): PositionLogprobs {
  const top = Array.from({ length: numTop }, (_, i) => ({
    token: (token + i) % 256,
    logprob: -0.5 - i,
  }));
  return { token, logprob: -0.5, top };
}

/**
 * An engine without a model, for tests of the functions alone: tokens are bytes, the answer is
 * always the same sentence over and over, and time passes only where a test asks for it.
 *
 * @module
 */
import { prepare, type PreparedRequest } from "../../engine/prepare.ts";
import { ActiveRun } from "../../engine/run.ts";
import { UnreadOutput } from "../../engine/unread_output.ts";
import {
  EngineError,
  type EngineStats,
  type FinishReason,
  type GenerateRequest,
  LogprobList,
  type PositionLogprobs,
  type Run,
  type RunObserver,
} from "../../engine/types.ts";
import type { ServedEngine } from "../../functions/server/env.ts";
import { createChatTemplate } from "../../model/chat_template.ts";
import type { ReasoningMarkers, Tokenizer } from "../../model/spec.ts";

const BOS = 256;
const EOS = 257;
const VOCAB_SIZE = 258;
const MAX_MODEL_LEN = 2048;
const ANSWER = "Grüße aus dem Herd. 🔥 ";
const TEMPLATE = "{% for m in messages %}{{ m.role }}: " +
  "{% if m.reasoning %}({{ m.reasoning }}) {% endif %}{{ m.content }}{{ '\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}assistant: {% endif %}";
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
  readonly maxUnreadBytes?: number;
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
  /** What it says over and over. */
  readonly answer?: string;
  /** Its chat template. */
  readonly template?: string;
  /** As of a model that reasons. */
  readonly reasoning?: ReasoningMarkers;
}

/** See the module's comment. */
export class FakeEngine implements ServedEngine {
  readonly model: ServedEngine["model"];
  readonly maxModelLen: number;
  readonly fingerprint = "fp_0123456789abcdef";
  readonly ready = Promise.resolve();
  readonly unread: UnreadOutput;
  /** Requests as they came, for tests to look at. */
  readonly requests: GenerateRequest[] = [];
  state: EngineStats["state"];
  failure: EngineError | undefined;
  bytesLoaded = 0;
  readonly #running = new Set<FakeWork>();
  #counts = { prompt: 0, generated: 0, submitted: 0 };
  #finished: Record<FinishReason | "error", number> = {
    stop: 0,
    length: 0,
    cancelled: 0,
    deadline: 0,
    error: 0,
  };

  constructor(readonly options: FakeEngineOptions = {}) {
    this.maxModelLen = options.maxModelLen ?? MAX_MODEL_LEN;
    this.state = options.state ?? "ready";
    this.unread = new UnreadOutput(options.maxUnreadBytes ?? 512 << 20);
    this.model = {
      name: "fake",
      samplingDefaults: {},
      architecture: "fake",
      tokenizer: byteTokenizer,
      chatTemplate: {
        ...createChatTemplate(options.template ?? TEMPLATE, byteTokenizer),
        reasoning: options.reasoning,
      },
    };
  }

  generate(request: GenerateRequest, observer: RunObserver = {}): Run {
    const limits = {
      vocabSize: VOCAB_SIZE,
      maxModelLen: this.maxModelLen,
      maxNumSeqs: 64,
      eosTokenIds: [EOS],
    };
    const preparation = prepare(request, {
      model: this.model,
      limits,
      encode: (text, { addSpecialTokens }) => byteTokenizer.encode(text, { addSpecialTokens }),
    });
    if (this.#running.size >= (this.options.maxRequests ?? 1000)) {
      throw new EngineError(
        "queue_full",
        "Cannot submit request: the queue is full",
        { retryAfterMs: 2500 },
      );
    }
    this.requests.push(request);
    this.#counts.submitted++;
    const { n: numSequences = 1, signal } = request;
    let work: FakeWork | undefined;
    const run = new ActiveRun({
      numSequences,
      signal,
      observer,
      cancelNative: () => work?.cancel(),
      unread: this.unread,
    });
    try {
      const prepared = preparation.encode();
      this.#counts.prompt += prepared.promptTokens.length;
      work = new FakeWork(this.options, prepared, run);
      this.#running.add(work);
      this.#run(work);
    } catch (error) {
      run.fail(error);
      run.accepted = Promise.reject(error);
      run.accepted.catch(() => {});
    }
    return run;
  }

  async #run(work: FakeWork): Promise<void> {
    const reason = await work.run();
    this.#running.delete(work);
    this.#finished[reason]++;
    this.#counts.generated += work.numTokens;
  }

  tokenize(text: string, options?: Parameters<ServedEngine["tokenize"]>[1]): Promise<number[]> {
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

  stop(): Promise<void> {
    this.#running.forEach((work) => work.cancel());
    return Promise.resolve();
  }

  close(): Promise<void> {
    return this.stop();
  }
}

/** A request as the library would run it: events, at its own pace. */
class FakeWork {
  numTokens = 0;
  readonly #options: FakeEngineOptions;
  readonly #prepared: PreparedRequest;
  readonly #run: ActiveRun;
  /** Why each sequence ends next; undefined while it goes on. */
  readonly #ends: (FinishReason | undefined)[];
  readonly #cancelled = Promise.withResolvers<void>();

  constructor(options: FakeEngineOptions, prepared: PreparedRequest, run: ActiveRun) {
    this.#options = options;
    this.#prepared = prepared;
    this.#run = run;
    const { output: settings, promptTokens } = prepared;
    this.#ends = new Array(settings.numSequences).fill(undefined);
    run.begin(1n, {
      settings,
      promptTokens,
      tokenizer: byteTokenizer,
      stopSequence: (index) => this.#ends[index] = "stop",
    });
  }

  cancel(): void {
    this.#ends.forEach((end, index) => this.#ends[index] = end ?? "cancelled");
    this.#cancelled.resolve();
  }

  /** Resolves with how it ended. */
  async run(): Promise<FinishReason | "error"> {
    const { native, promptTokens } = this.#prepared;
    const event = { request: 1n, cachedTokens: 0 };
    await this.#pause(0);
    this.#run.take({ ...event, kind: "start", queueMicroseconds: 3000 });
    if (native.promptLogprobs >= 0) {
      promptTokens.slice(1).forEach((token, i) => {
        const position = i + 1;
        const logprob = scored(token, native.promptLogprobs);
        this.#run.take({ request: 1n, kind: "prompt_logprob", position, token: logprob });
      });
    }
    await this.#pause(this.#options.prefillMs ?? 0);
    const { maxModelLen = MAX_MODEL_LEN } = this.#options;
    const room = Math.min(native.maxTokens, maxModelLen - promptTokens.length);
    const { answer = ANSWER } = this.#options;
    const bytes = utf8.encode(answer.repeat(Math.ceil(room / answer.length))).subarray(0, room);
    for (let i = 0; i < room; i++) {
      for (let sequence = 0; sequence < this.#ends.length; sequence++) {
        if (this.#ends[sequence] !== undefined) continue;
        await this.#pause(this.#options.tokenMs ?? 0);
        if (i === this.#options.failAfter) {
          const defect = new EngineError("internal", "Cannot run step: the fake has failed");
          this.#run.take({ kind: "error", error: this.#options.failure ?? defect });
          return "error";
        }
        const tokens = LogprobList.of([scored(bytes[i]!, native.logprobs)]);
        this.numTokens++;
        this.#run.take({ ...event, kind: "token", sequence, tokens, numOutputTokens: i + 1 });
      }
    }
    this.#ends.forEach((end, sequence) => {
      this.#run.take({ ...event, kind: "finish", sequence, reason: end ?? "length" });
    });
    return this.#ends[0] ?? "length";
  }

  /** Also without time readers have their turn, as between two polls. */
  async #pause(ms: number): Promise<void> {
    const timer = Promise.withResolvers<void>();
    const id = setTimeout(timer.resolve, ms);
    await Promise.race([timer.promise, this.#cancelled.promise]);
    clearTimeout(id);
  }
}

function scored(token: number, numTop: number): PositionLogprobs {
  const top = Array.from({ length: numTop }, (_, i) => ({
    token: (token + i) % 256,
    logprob: -0.5 - i,
  }));
  return { token, logprob: -0.5, top };
}

/**
 * Text to token ids without holding up the event loop.
 *
 * Encoding takes about 0.25 ms a KB of prose, so that a few long prompts at a time would keep tokens and
 * `/health` waiting. Short texts are encoded at once; longer ones in a worker that reads the same
 * tokenizer, in turns (`encode_queue.ts`). The first long text starts the worker, which takes about
 * 0.4 s; texts that come until then are encoded here unless that would take long. Where there is no
 * worker, turns are taken here. A text that cannot fit the model is refused unread; one whose caller has
 * left is dropped between two turns.
 *
 * @module
 */
import { Worker } from "node:worker_threads";
import { tokenizerSource } from "../model/load.ts";
import type { LiteralSpan, Model, Tokenizer } from "../model/spec.ts";
import { type EncodeJob, type EncodeOutcome, EncodeQueue } from "./encode_queue.ts";
import { contextRule, refuse } from "./refuse.ts";
import {
  WORKER_URL,
  type WorkerMessage,
  type WorkerRequest,
  type WorkerSource,
} from "./tokenizer_worker.ts";
import { EngineError } from "./types.ts";

/** UTF-16 units; about 0.1 ms of prose. */
const SHORT_TEXT = 512;
/** UTF-16 units; about 1 ms of prose, less than a worker takes to start. */
const MEDIUM_TEXT = 4 * 1024;

/** Of a UTF-16 unit. */
const MOST_UTF8_BYTES = 3;

/** Of encoding a UTF-16 unit of prose. */
const MS_PER_UNIT = 0.25e-3;

/** What an {@linkcode Encoder} takes in. */
export interface EncoderLimits {
  /** Prompt and output together, in tokens. */
  readonly maxModelLen: number;
  /** Long texts that may be under way. */
  readonly maxQueuedRequests: number;
  /** Texts have no literal spans. */
  readonly trustMessageTokens: boolean;
}

/** How one text is encoded. */
export interface EncodeOptions {
  readonly addSpecialTokens: boolean;
  /** [none] */
  readonly literal?: readonly LiteralSpan[] | undefined;
  /** Whose the text is; long texts of each have turns of their own. [nobody's] */
  readonly caller?: string | undefined;
  /** Of the request, for errors. */
  readonly field?: string;
  /** Drops the text; its promise rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

interface PendingText extends EncodeOutcome {
  readonly job: EncodeJob;
}

/** See the module's comment. */
export class Encoder {
  readonly #tokenizer: Tokenizer;
  readonly #limits: EncoderLimits;
  /** Takes turns on this thread, where there is no worker. */
  readonly #queue: EncodeQueue;
  /** What a worker would read; undefined: there can be none. */
  #source: WorkerSource | undefined;
  #worker: Worker | undefined;
  #listening = false;
  /** By the numbers that the worker knows them by. */
  readonly #pending = new Map<number, PendingText>();
  #numTexts = 0;
  #longestToken: number | undefined;

  constructor(model: Model, limits: EncoderLimits) {
    this.#tokenizer = model.tokenizer;
    this.#limits = limits;
    this.#queue = new EncodeQueue(model.tokenizer);
    // A tokenizer of the caller's own has no source.
    const path = tokenizerSource(model.tokenizer);
    if (path !== undefined) {
      this.#source = { hearthTokenizer: true, path, fingerprint: model.spec.fingerprint };
    }
  }

  /**
   * Token ids at once for short texts, else a promise of them.
   *
   * @throws {EngineError} `context_length_exceeded` for a text that cannot fit, `queue_full`
   */
  encode(text: string, options: EncodeOptions): number[] | Promise<number[]> {
    this.#checkLength(text, options.field);
    const { addSpecialTokens, caller = "", signal } = options;
    const literal = this.#limits.trustMessageTokens ? [] : options.literal ?? [];
    if (text.length <= (this.#listening ? SHORT_TEXT : MEDIUM_TEXT)) {
      if (text.length > SHORT_TEXT) this.#startWorker();
      return this.#tokenizer.encode(text, { addSpecialTokens, literal });
    }
    signal?.throwIfAborted();
    this.#checkRoom();
    const { promise, resolve, reject } = Promise.withResolvers<number[]>();
    const id = this.#numTexts++;
    this.#pending.set(id, { job: { text, caller, addSpecialTokens, literal }, resolve, reject });
    const drop = () => this.#drop(id, signal!.reason);
    signal?.addEventListener("abort", drop, { once: true });
    this.#startWorker();
    this.#worker?.ref();
    this.#send(id);
    return promise.finally(() => signal?.removeEventListener("abort", drop));
  }

  /** Ends the worker. Texts that wait are refused. */
  async close(): Promise<void> {
    const closed = new EngineError("closing", "The engine was closed while a prompt was encoded");
    for (const id of this.#pending.keys()) this.#drop(id, closed);
    await this.#endWorker();
  }

  /** A token stands for at least as many bytes as a text has UTF-16 units, composed or not. */
  #checkLength(text: string, field: string | undefined): void {
    const { maxModelLen } = this.#limits;
    if (text.length <= maxModelLen) return;
    this.#longestToken ??= longestTokenBytes(this.#tokenizer);
    const numTokens = Math.ceil(text.length / this.#longestToken);
    if (numTokens <= maxModelLen) return;
    const found = `${text.length} characters, at least ${numTokens} tokens`;
    const rule = contextRule(`have at most ${maxModelLen} tokens`, maxModelLen);
    refuse("Cannot encode text", field ?? "text", rule, found, "context_length_exceeded");
  }

  #checkRoom(): void {
    const { maxQueuedRequests } = this.#limits;
    if (this.#pending.size < maxQueuedRequests) return;
    let length = 0;
    for (const { job } of this.#pending.values()) length += job.text.length;
    throw new EngineError(
      "queue_full",
      `Cannot encode text: at most ${maxQueuedRequests} long texts may wait: ` +
        `current number is ${this.#pending.size}`,
      { retryAfterMs: length * MS_PER_UNIT },
    );
  }

  #startWorker(): void {
    if (this.#source === undefined || this.#worker !== undefined) return;
    const worker = new Worker(WORKER_URL, { workerData: this.#source });
    this.#worker = worker;
    worker.unref(); // an engine left idle keeps no program alive
    worker.on("message", (message: WorkerMessage) => this.#receive(message));
    worker.on("error", (error: Error) => this.#doWithoutWorker(error.message));
  }

  async #endWorker(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    this.#listening = false;
    await worker?.terminate();
  }

  /** To the worker, when it listens; to this thread's queue where there can be none. */
  #send(id: number): void {
    const { job } = this.#pending.get(id)!;
    if (this.#listening) return this.#tell({ id, job });
    if (this.#source !== undefined) return;
    this.#queue.add(job, {
      resolve: (tokens) => this.#take(id)?.resolve(tokens),
      reject: (error) => this.#take(id)?.reject(error),
    });
  }

  #receive(message: WorkerMessage): void {
    if (message === "listening") {
      this.#listening = true;
      for (const id of this.#pending.keys()) this.#send(id);
    } else if ("error" in message) {
      this.#doWithoutWorker(message.error);
    } else {
      this.#take(message.id)?.resolve(Array.from(message.tokens));
    }
  }

  #drop(id: number, reason: unknown): void {
    const dropped = this.#take(id);
    if (dropped === undefined) return;
    if (this.#listening) this.#tell({ drop: id });
    else this.#queue.drop(dropped.job);
    dropped.reject(reason);
  }

  /** The text, which does not wait any more; undefined: it did not. */
  #take(id: number): PendingText | undefined {
    const taken = this.#pending.get(id);
    this.#pending.delete(id);
    if (this.#pending.size === 0) this.#worker?.unref();
    return taken;
  }

  #tell(request: WorkerRequest): void {
    this.#worker!.postMessage(request);
  }

  /** The files have changed or cannot be read any more: from now on all texts are encoded here. */
  #doWithoutWorker(problem: string): void {
    if (this.#source === undefined) return;
    // deno-lint-ignore no-console -- a server takes the console over
    console.error(`Long prompts are encoded without a worker from now on: ${problem}`);
    this.#source = undefined;
    this.#endWorker();
    for (const id of this.#pending.keys()) this.#send(id);
  }
}

/** Making the bytes of a whole vocabulary takes 0.1 s and more: only a long text can have many. */
function longestTokenBytes(tokenizer: Tokenizer): number {
  let longest = 1;
  for (let token = 0; token < tokenizer.vocabSize; token++) {
    const mostBytes = MOST_UTF8_BYTES * (tokenizer.tokenText(token)?.length ?? 0);
    if (mostBytes > longest) longest = Math.max(longest, tokenizer.tokenBytes(token).length);
  }
  return longest;
}

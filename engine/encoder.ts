/**
 * Text to token ids without holding up the event loop.
 *
 * Encoding takes about 0.25 ms a KB of prose, so that a few long prompts at a time would keep tokens and
 * `/health` waiting. Short texts are encoded at once; longer ones in a worker that reads the same
 * tokenizer, one at a time, the shortest first and among equals the oldest. The first long text starts
 * the worker, which takes about 0.4 s, and is encoded here unless that would take long. A text that
 * cannot fit the model is refused unread; one whose caller has left is dropped, and with it the worker
 * where that has begun.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { tokenizerSource } from "../model/load.ts";
import type { LiteralSpan, Model, Tokenizer } from "../model/spec.ts";
import { contextRule, refuse } from "./refuse.ts";
import type { EncodeRequest, WorkerMessage, WorkerSource } from "./tokenizer_worker.ts";
import { EngineError } from "./types.ts";

/** UTF-16 units; about 0.1 ms of prose. */
const SHORT_TEXT = 512;
/** UTF-16 units; about 1 ms of prose, less than a worker takes to start. */
const MEDIUM_TEXT = 4 * 1024;

/** Of a UTF-16 unit. */
const MOST_UTF8_BYTES = 3;

/** Of encoding a UTF-16 unit, at most, but for hard texts. */
const MS_PER_UNIT = 1e-3;

const WORKER_URL = new URL("./tokenizer_worker.ts", import.meta.url);

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
  /** Of the request, for errors. */
  readonly field?: string;
  /** Drops the text; its promise rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

interface PendingText extends EncodeRequest {
  readonly resolve: (tokens: number[]) => void;
  readonly reject: (reason: unknown) => void;
}

/** See the module's comment. */
export class Encoder {
  readonly #tokenizer: Tokenizer;
  readonly #limits: EncoderLimits;
  /** What a worker would read; undefined: there can be none. */
  #source: WorkerSource | undefined;
  #worker: Worker | undefined;
  #listening = false;
  readonly #waiting: PendingText[] = [];
  #running: PendingText | undefined;
  #longestToken: number | undefined;

  constructor(model: Model, limits: EncoderLimits) {
    this.#tokenizer = model.tokenizer;
    this.#limits = limits;
    // A bundle of one file has no worker beside it, a tokenizer of the caller's own no source.
    const path = existsSync(WORKER_URL) ? tokenizerSource(model.tokenizer) : undefined;
    if (path !== undefined) this.#source = { path, fingerprint: model.spec.fingerprint };
  }

  /**
   * Token ids at once for short texts, else a promise of them.
   *
   * @throws {EngineError} `context_length_exceeded` for a text that cannot fit, `queue_full`
   */
  encode(text: string, options: EncodeOptions): number[] | Promise<number[]> {
    this.#checkLength(text, options.field);
    const { addSpecialTokens, signal } = options;
    const literal = this.#limits.trustMessageTokens ? [] : options.literal ?? [];
    if (this.#source === undefined || text.length <= SHORT_TEXT) {
      return this.#tokenizer.encode(text, { addSpecialTokens, literal });
    }
    if (this.#worker === undefined) {
      this.#worker = this.#startWorker(this.#source);
      if (text.length <= MEDIUM_TEXT) {
        return this.#tokenizer.encode(text, { addSpecialTokens, literal });
      }
    }
    signal?.throwIfAborted();
    this.#checkRoom();
    const { promise, resolve, reject } = Promise.withResolvers<number[]>();
    const pending = { text, addSpecialTokens, literal, resolve, reject };
    const drop = () => this.#drop(pending, signal!.reason);
    signal?.addEventListener("abort", drop, { once: true });
    const longer = this.#waiting.findIndex((other) => other.text.length > text.length);
    this.#waiting.splice(longer < 0 ? this.#waiting.length : longer, 0, pending);
    this.#worker.ref();
    this.#sendNext();
    return promise.finally(() => signal?.removeEventListener("abort", drop));
  }

  /** Ends the worker. Texts that wait are refused. */
  async close(): Promise<void> {
    const closed = new EngineError("closing", "The engine was closed while a prompt was encoded");
    for (const { reject } of this.#takeAll()) reject(closed);
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
    const texts = this.#running === undefined ? this.#waiting : [this.#running, ...this.#waiting];
    if (texts.length < maxQueuedRequests) return;
    const length = texts.reduce((sum, { text }) => sum + text.length, 0);
    throw new EngineError(
      "queue_full",
      `Cannot encode text: at most ${maxQueuedRequests} long texts may wait: ` +
        `current number is ${texts.length}`,
      { retryAfterMs: length * MS_PER_UNIT },
    );
  }

  #startWorker(source: WorkerSource): Worker {
    const worker = new Worker(WORKER_URL, { workerData: source });
    worker.unref(); // an engine left idle keeps no program alive
    worker.on("message", (message: WorkerMessage) => {
      if (worker === this.#worker) this.#receive(message);
    });
    worker.on("error", (error: Error) => {
      if (worker === this.#worker) this.#doWithoutWorker(error.message);
    });
    return worker;
  }

  async #endWorker(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    this.#listening = false;
    await worker?.terminate();
  }

  /** One at a time, so that a short text never waits for more than one long one. */
  #sendNext(): void {
    if (!this.#listening || this.#running !== undefined) return;
    this.#running = this.#waiting.shift();
    if (this.#running === undefined) return this.#worker?.unref();
    const { text, addSpecialTokens, literal } = this.#running;
    this.#worker!.postMessage({ text, addSpecialTokens, literal } satisfies EncodeRequest);
  }

  #receive(message: WorkerMessage): void {
    if (message === "listening") {
      this.#listening = true;
    } else if ("error" in message) {
      return void this.#doWithoutWorker(message.error);
    } else {
      this.#running!.resolve(Array.from(message.tokens));
      this.#running = undefined;
    }
    this.#sendNext();
  }

  /** Nothing interrupts a worker but its end: the next text, if there is one, gets a new one. */
  #drop(pending: PendingText, reason: unknown): void {
    pending.reject(reason);
    if (pending === this.#running) {
      this.#running = undefined;
      this.#endWorker();
      if (this.#waiting.length === 0) return;
      this.#worker = this.#startWorker(this.#source!);
      this.#worker.ref();
    } else {
      const at = this.#waiting.indexOf(pending);
      if (at >= 0) this.#waiting.splice(at, 1);
    }
  }

  /** The files have changed or cannot be read any more: from now on all texts are encoded here. */
  async #doWithoutWorker(problem: string): Promise<void> {
    // deno-lint-ignore no-console -- a server takes the console over
    console.error(`Long prompts are encoded without a worker from now on: ${problem}`);
    this.#source = undefined;
    this.#endWorker();
    for (const { text, addSpecialTokens, literal, resolve, reject } of this.#takeAll()) {
      await new Promise((resume) => setTimeout(resume)); // events have their turn between two
      try {
        resolve(this.#tokenizer.encode(text, { addSpecialTokens, literal }));
      } catch (error) {
        reject(error);
      }
    }
  }

  #takeAll(): PendingText[] {
    const running = this.#running === undefined ? [] : [this.#running];
    this.#running = undefined;
    return [...running, ...this.#waiting.splice(0)];
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

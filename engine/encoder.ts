/**
 * Text to token ids without holding up the event loop.
 *
 * Encoding takes about 1 ms a KB of text, so that a few long prompts at a time would keep tokens and
 * `/health` waiting. Short texts are encoded at once; longer ones in a worker that reads the same
 * tokenizer, the shortest first. The first long text starts the worker, which takes about 0.4 s, and is
 * encoded here unless that would take long.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { tokenizerSource } from "../model/load.ts";
import type { Tokenizer } from "../model/spec.ts";
import type { EncodeRequest, WorkerMessage } from "./tokenizer_worker.ts";
import { EngineError } from "./types.ts";

/** UTF-16 units; about 0.5 ms. */
const shortText = 512;
/** UTF-16 units; about 4 ms, less than a worker takes to start. */
const mediumText = 4 * 1024;

const workerUrl = new URL("./tokenizer_worker.ts", import.meta.url);

interface Job extends EncodeRequest {
  readonly resolve: (tokens: number[]) => void;
  readonly reject: (error: Error) => void;
}

/** See the module's comment. */
export class Encoder {
  readonly #tokenizer: Tokenizer;
  /** What a worker would read; undefined: there can be none. */
  readonly #source: string | undefined;
  #worker: Worker | undefined;
  #listening = false;
  readonly #waiting: Job[] = [];
  #running: Job | undefined;

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
    // A bundle of one file has no worker beside it, a tokenizer of the caller's own no source.
    this.#source = existsSync(workerUrl) ? tokenizerSource(tokenizer) : undefined;
  }

  /** Token ids at once for short texts, else a promise of them. */
  encode(text: string, addSpecialTokens: boolean): number[] | Promise<number[]> {
    if (this.#source === undefined || text.length <= shortText) {
      return this.#tokenizer.encode(text, { addSpecialTokens });
    }
    if (this.#worker === undefined) {
      this.#worker = this.#startWorker(this.#source);
      if (text.length <= mediumText) return this.#tokenizer.encode(text, { addSpecialTokens });
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ text, addSpecialTokens, resolve, reject });
      this.#waiting.sort((a, b) => b.text.length - a.text.length);
      this.#worker!.ref();
      this.#sendNext();
    });
  }

  /** Ends the worker. Texts that wait are refused. */
  async close(): Promise<void> {
    this.#fail(new EngineError("closing", "The engine was closed while a prompt was encoded"));
    await this.#worker?.terminate();
    this.#worker = undefined;
    this.#listening = false;
  }

  #startWorker(source: string): Worker {
    const worker = new Worker(workerUrl, { workerData: source });
    worker.unref(); // an engine left idle keeps no program alive
    worker.on("message", (message: WorkerMessage) => this.#receive(message));
    worker.on("error", (error: Error) => {
      this.#worker = undefined;
      this.#listening = false;
      this.#fail(new EngineError("internal", `Cannot encode the prompt: ${error.message}`));
    });
    return worker;
  }

  /** One at a time, so that a short text never waits for more than one long one. */
  #sendNext(): void {
    if (!this.#listening || this.#running !== undefined) return;
    this.#running = this.#waiting.pop();
    if (this.#running === undefined) return this.#worker?.unref();
    const { text, addSpecialTokens } = this.#running;
    this.#worker!.postMessage({ text, addSpecialTokens } satisfies EncodeRequest);
  }

  #receive(message: WorkerMessage): void {
    if (message === "listening") {
      this.#listening = true;
    } else {
      const { resolve, reject } = this.#running!;
      this.#running = undefined;
      if ("tokens" in message) resolve(Array.from(message.tokens));
      else reject(new EngineError("internal", `Cannot encode the prompt: ${message.error}`));
    }
    this.#sendNext();
  }

  #fail(error: EngineError): void {
    for (
      const { reject } of [this.#running, ...this.#waiting.splice(0)].filter((job) =>
        job !== undefined
      )
    ) {
      reject(error);
    }
    this.#running = undefined;
  }
}

/**
 * The engine as programs see it: text in, text out, everything native hidden.
 *
 * The library runs steps on its own thread. Here exactly one poll is pending while there is something
 * to wait for (weights that load, requests under way, a drain) and none otherwise, so that an engine
 * left idle keeps no program alive.
 *
 * @module
 */
import { ENGINE_OPTIONS } from "../ffi/engine_options.ts";
import { buildInfo, listDevices, openLibrary } from "../ffi/library.ts";
import type { NativeEvent } from "../ffi/events.ts";
import { NativeEngine } from "../ffi/native_engine.ts";
import { loadModel } from "../model/load.ts";
import { encodeModel } from "../model/native_tables.ts";
import type { LiteralSpan, Model } from "../model/spec.ts";
import { Encoder } from "./encoder.ts";
import { fingerprintOf } from "./fingerprint.ts";
import { checkOptions } from "./options.ts";
import { type Preparation, prepare, type PrepareContext, type PreparedRequest } from "./prepare.ts";
import { ActiveRun } from "./run.ts";
import {
  EngineError,
  type EngineOptions,
  type EngineStats,
  type GenerateRequest,
  type Run,
  type RunObserver,
} from "./types.ts";
import { UnreadOutput } from "./unread_output.ts";
import { checkTokens, limitsOf } from "./validation.ts";

/** Options of {@linkcode Engine.open}. */
export interface OpenOptions extends EngineOptions {
  /** Wait for the weights; false returns at once, and `engine.ready` tells when. [true] */
  readonly waitUntilReady?: boolean;
}

type RequestEvent = Extract<NativeEvent, { readonly request: bigint }>;

/** A poll that nothing wakes returns after this long, to be called again. */
const POLL_TIMEOUT_MS = 1000;

/** The longest that setTimeout() takes: 24 days, in which no text waits for the encoder. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/**
 * One model on one device.
 *
 * @example A text continued, piece by piece
 * ```ts
 * import { defaultModelPath, Engine } from "@hearth/hearth";
 *
 * await using engine = await Engine.open(await defaultModelPath());
 * for await (const { text } of engine.generate({ prompt: "Once upon a time", maxTokens: 8 })) {
 *   console.log(text);
 * }
 * ```
 */
export class Engine implements AsyncDisposable {
  /** What was opened. */
  readonly model: Model;
  /** Prompt and output together, in tokens. */
  readonly maxModelLen: number;
  /** Resolves when the weights are loaded; rejects with an EngineError when loading failed. */
  readonly ready: Promise<void>;
  /** Output of all requests that waits for its readers. */
  readonly unread: UnreadOutput;
  readonly #native: NativeEngine;
  readonly #encoder: Encoder;
  readonly #context: PrepareContext<number[] | Promise<number[]>>;
  readonly #active = new Map<bigint, ActiveRun>();
  readonly #loaded = Promise.withResolvers<void>();
  readonly #stopped = Promise.withResolvers<void>();
  readonly #options: EngineOptions;
  #fingerprint: string | undefined;
  #failure: EngineError | undefined;
  #state: "loading" | "ready" | "failed" | "stopping" | "stopped" = "loading";
  #polling = false;

  private constructor(model: Model, options: EngineOptions) {
    checkOptions(options);
    this.model = model;
    this.#options = options;
    this.#native = NativeEngine.open(openLibrary(options.library), encodeModel(model), options);
    const limits = limitsOf(model, this.#native.stats());
    this.maxModelLen = limits.maxModelLen;
    const { maxQueuedRequests = ENGINE_OPTIONS.maxQueuedRequests.default } = options;
    const { trustMessageTokens = false } = options;
    const { maxUnreadBytes = ENGINE_OPTIONS.maxUnreadBytes.default } = options;
    this.unread = new UnreadOutput(maxUnreadBytes);
    const { maxModelLen } = this;
    this.#encoder = new Encoder(model, { maxModelLen, maxQueuedRequests, trustMessageTokens });
    this.#context = {
      model,
      limits,
      encode: (text, options) => this.#encoder.encode(text, options),
    };
    this.ready = this.#loaded.promise;
    this.ready.catch(() => {}); // whoever waits for it gets the error
    this.#poll();
  }

  /**
   * Open a model: a path, a Hub id, or one that `loadModel` has read.
   *
   * @throws {ModelError} when the model cannot be read
   * @throws {EngineError} when it cannot be run: memory, device, library, options
   */
  static async open(source: string | Model, options: OpenOptions = {}): Promise<Engine> {
    const { waitUntilReady = true, ...engineOptions } = options;
    const { loadFormat = "auto" } = engineOptions;
    const model = typeof source === "string" ? await loadModel(source, { loadFormat }) : source;
    const engine = new Engine(model, engineOptions);
    if (waitUntilReady) {
      try {
        await engine.ready;
      } catch (error) {
        await engine.close();
        throw error;
      }
    }
    return engine;
  }

  /**
   * Queue a request. Iterate the run for its output as it comes, or await its `result()` or `text()`;
   * leaving the loop cancels it.
   *
   * @param observer is told of the run's events as they come
   * @throws {EngineError} at once for a field that is out of range; what shows later (a prompt too
   * long once encoded, a full queue) rejects `accepted` and is thrown by the loop
   *
   * @example Three answers at once, each cut at a line's end, given up after ten seconds
   * ```ts
   * import { defaultModelPath, Engine } from "@hearth/hearth";
   *
   * await using engine = await Engine.open(await defaultModelPath());
   * const messages = [{ role: "user", content: "Name a fruit." }];
   * const signal = AbortSignal.timeout(10_000);
   * const texts = ["", "", ""];
   * const request = { messages, n: 3, seed: 1, maxTokens: 12, stop: ["\\n"], signal };
   * for await (const { index, text } of engine.generate(request)) texts[index] += text;
   * console.log(texts);
   * ```
   *
   * @example What is wrong with a request
   * ```ts
   * import assert from "node:assert/strict";
   * import { Engine, EngineError } from "@hearth/hearth";
   *
   * await using engine = await Engine.open("tests/data/llama2-fp32");
   * try {
   *   engine.generate({ prompt: "Hello", temperature: 3 });
   * } catch (error) {
   *   assert.ok(error instanceof EngineError);
   *   assert.equal(error.code, "invalid_argument");
   *   assert.equal(error.field, "temperature");
   * }
   * ```
   */
  generate(request: GenerateRequest, observer: RunObserver = {}): Run {
    request.signal?.throwIfAborted();
    const preparation = prepare(request, this.#context);
    const { deadlineMs, n: numSequences = 1, signal } = request;
    const cancelNative = (id: bigint) => this.#native.cancel(id);
    const run = new ActiveRun({
      numSequences,
      signal,
      observer,
      cancelNative,
      unread: this.unread,
    });
    run.accepted = this.#start(run, preparation, deadlineMs);
    run.accepted.catch(() => {}); // the loop throws it too
    return run;
  }

  /**
   * Token ids of a text. `literal` says where it is text whatever it spells; each `caller` has turns of
   * its own. [addSpecialTokens: true]
   *
   * @throws {EngineError} `context_length_exceeded` for a text so long that it cannot fit the model
   *
   * @example There and back
   * ```ts
   * import assert from "node:assert/strict";
   * import { Engine } from "@hearth/hearth";
   *
   * await using engine = await Engine.open("tests/data/llama2-fp32");
   * const tokens = await engine.tokenize("the quick brown fox");
   * assert.equal(engine.detokenize(tokens), "the quick brown fox");
   * ```
   */
  async tokenize(
    text: string,
    options: {
      readonly addSpecialTokens?: boolean;
      readonly literal?: readonly LiteralSpan[];
      readonly caller?: string;
      readonly signal?: AbortSignal;
    } = {},
  ): Promise<number[]> {
    const { addSpecialTokens = true, ...rest } = options;
    return await this.#encoder.encode(text, { addSpecialTokens, ...rest });
  }

  /**
   * Text of token ids. [skipSpecialTokens: true]
   *
   * @throws {EngineError} for ids out of the vocabulary
   */
  detokenize(
    tokens: readonly number[],
    options: { readonly skipSpecialTokens?: boolean } = {},
  ): string {
    checkTokens("tokens", tokens, this.#context.limits);
    const { skipSpecialTokens = true } = options;
    return this.model.tokenizer.decode(tokens, { skipSpecialTokens });
  }

  /** Gauges of now, counters since open. */
  stats(): EngineStats {
    return this.#native.stats();
  }

  /**
   * Names model, build, device, dtypes and options: of engines with one fingerprint, equal requests
   * with equal seeds get equal tokens. It settles when the engine is ready.
   */
  get fingerprint(): string {
    if (this.#fingerprint !== undefined) return this.#fingerprint;
    const { model } = this;
    const { library } = this.#options;
    const fingerprint = fingerprintOf({
      model,
      build: buildInfo(library),
      stats: this.stats(),
      devices: listDevices(library),
      options: this.#options,
    });
    if (this.#state !== "loading") this.#fingerprint = fingerprint;
    return fingerprint;
  }

  /** `key: value` lines: device, threads, kernels, dtypes. */
  describe(): string {
    return this.#native.describe();
  }

  /**
   * Take no new requests; resolves when none is left. `drain: false` cancels those that run, also
   * those of a drain that was begun before. [drain: true]
   *
   * @example What runs may finish, for a while
   * ```ts
   * import { Engine } from "@hearth/hearth";
   *
   * const engine = await Engine.open("tests/data/llama2-fp32");
   * engine.generate({ tokens: [20, 21, 22], maxTokens: 50 });
   * const impatient = setTimeout(() => engine.stop({ drain: false }), 5000);
   * await engine.stop();
   * clearTimeout(impatient);
   * await engine.close();
   * ```
   */
  stop(options: { readonly drain?: boolean } = {}): Promise<void> {
    if (this.#state !== "stopped") {
      this.#state = "stopping";
      this.#native.stop(options.drain ?? true);
      this.#poll();
    }
    return this.#stopped.promise;
  }

  /** Stop without draining, and free the engine. Harmless when it is closed. */
  async close(): Promise<void> {
    await this.stop({ drain: false });
    this.#native.close();
    await this.#encoder.close();
  }

  /** As {@linkcode close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /**
   * Why it runs no step any more (`device_lost`, or what loading failed with): every request fails
   * with it, and only another engine helps. Undefined while it works.
   */
  get failure(): EngineError | undefined {
    this.#poll(); // it may have failed while nobody waited for anything
    return this.#failure;
  }

  /** Short prompts are queued before it returns, in the order of its calls. */
  async #start(
    run: ActiveRun,
    preparation: Preparation<PreparedRequest | Promise<PreparedRequest>>,
    deadlineMs: number | undefined,
  ): Promise<void> {
    const { signal } = run;
    const late = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    try {
      const prepared = preparation.encode(
        deadlineMs === undefined ? signal : AbortSignal.any([signal, late.signal]),
      );
      if (!(prepared instanceof Promise)) return this.#submit(run, prepared);
      // A text that waits for the encoder past its deadline is not worth encoding.
      if (deadlineMs !== undefined) {
        timer = setTimeout(() => late.abort(), Math.min(deadlineMs, MAX_TIMEOUT_MS));
      }
      this.#submit(run, await prepared);
    } catch (error) {
      if (signal.aborted) return run.endUnsent("cancelled");
      if (late.signal.aborted) return run.endUnsent("deadline");
      run.fail(error);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** From here on nothing holds the request's texts. */
  #submit(run: ActiveRun, { promptTokens, native, output: settings }: PreparedRequest): void {
    if (run.signal.aborted) return run.endUnsent("cancelled");
    const id = this.#native.submit(Uint32Array.from(promptTokens), native);
    const { tokenizer } = this.model;
    const stopSequence = (index: number, keepTokens: number) =>
      this.#native.stopSequence(id, index, keepTokens);
    try {
      run.begin(id, { settings, promptTokens, tokenizer, stopSequence });
    } catch (error) {
      this.#native.cancel(id); // nobody else knows it
      throw error;
    }
    this.#active.set(id, run);
    this.#poll();
  }

  get #waitsForEvents(): boolean {
    return this.#state === "loading" || this.#state === "stopping" || this.#active.size > 0 ||
      this.#hasUntoldFailure;
  }

  /** It has failed, and the event that says why is on its way, behind the last request's error. */
  get #hasUntoldFailure(): boolean {
    return this.#state !== "stopped" && this.#failure === undefined &&
      this.#native.stats().state === "failed";
  }

  /** Keeps one poll pending while there is something to wait for. */
  async #poll(): Promise<void> {
    if (this.#polling) return;
    this.#polling = true;
    try {
      while (this.#waitsForEvents) {
        const events = await this.#native.poll(POLL_TIMEOUT_MS);
        if (events === undefined) return this.#onClosed();
        for (const event of events) this.#dispatch(event);
      }
    } catch (error) {
      this.#failAll(error);
      this.#loaded.reject(error);
      this.#onClosed();
    } finally {
      this.#polling = false;
    }
  }

  #dispatch(event: NativeEvent): void {
    if (event.kind === "ready") {
      if (this.#state === "loading") this.#state = "ready";
      this.#loaded.resolve();
    } else if (event.kind === "failed") {
      if (this.#state === "loading") this.#state = "failed";
      this.#failure = event.error;
      this.#loaded.reject(event.error);
      this.#failAll(event.error);
    } else {
      this.#dispatchTo(event.request, event);
    }
  }

  #failAll(error: unknown): void {
    for (const run of this.#active.values()) run.fail(error);
    this.#active.clear();
  }

  /** What one request's output cannot take ends that request alone. */
  #dispatchTo(id: bigint, event: RequestEvent): void {
    const run = this.#active.get(id);
    if (run === undefined) return; // failed before
    try {
      if (run.take(event)) this.#active.delete(id);
    } catch (error) {
      this.#active.delete(id);
      run.cancel();
      run.fail(error);
    }
  }

  #onClosed(): void {
    this.#state = "stopped";
    this.#loaded.reject(new EngineError("closing", "The engine was closed before it was ready"));
    this.#stopped.resolve();
  }
}

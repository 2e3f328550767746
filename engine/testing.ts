/**
 * An engine for tests, stepped by hand: no thread, no clock, the same results every time.
 *
 * ```ts
 * import assert from "node:assert/strict";
 * import { ManualEngine } from "@hearth/hearth/testing";
 *
 * using engine = await ManualEngine.open("tests/data/llama2-fp32");
 * const request = engine.generate({ tokens: [287, 28], maxTokens: 3, temperature: 0 });
 * engine.step(); // the prompt, and the first token
 * assert.equal(request.outputs[0]?.tokens.length, 1);
 * engine.runUntilIdle();
 * assert.equal(request.outputs[0]?.finishReason, "length");
 * engine.checkIntegrity();
 * ```
 *
 * @module
 */
import { openLibrary } from "../ffi/library.ts";
import { NativeEngine } from "../ffi/native_engine.ts";
import { loadModel } from "../model/load.ts";
import { encodeModel } from "../model/native_tables.ts";
import type { Model } from "../model/spec.ts";
import { checkOptions } from "./options.ts";
import { prepare, type PrepareContext } from "./prepare.ts";
import { type OutputEvent, type OutputOptions, RequestOutput } from "./request_output.ts";
import { SequenceLog } from "./sequence_log.ts";
import {
  EngineError,
  type EngineErrorCode,
  type EngineErrorDetails,
  type EngineOptions,
  type EngineStats,
  type FinishReason,
  type GenerateChunk,
  type GenerateRequest,
  LogprobList,
  type Part,
  type PositionLogprobs,
  type SamplingParameters,
  type TokenLogprob,
} from "./types.ts";
import { limitsOf } from "./validation.ts";

export { EngineError, LogprobList };
export type {
  EngineErrorCode,
  EngineErrorDetails,
  EngineOptions,
  EngineStats,
  FinishReason,
  GenerateChunk,
  GenerateRequest,
  Model,
  Part,
  PositionLogprobs,
  SamplingParameters,
  TokenLogprob,
};

/** A request of a {@linkcode ManualEngine}. Its output grows with the engine's steps. */
export interface ManualRequest {
  /** Ids of the prompt as the model gets it. */
  readonly promptTokens: readonly number[];
  /** What each of the n sequences has produced so far. */
  readonly outputs: readonly GenerateChunk[];
  /** Prompt tokens found in the warm KV cache. */
  readonly numCachedTokens: number;
  /** One for each prompt token (the first has none), when asked for. */
  readonly promptLogprobs: readonly (PositionLogprobs | undefined)[] | undefined;
  /** Why the request failed, if it did. */
  readonly error: EngineError | undefined;
  /** Every sequence has ended, or the request has failed. */
  readonly ended: boolean;
  /** Ends it at the next step. Harmless when it has ended. */
  cancel(): void;
}

/** Steps that only retire what was staged or cancelled compute no token. */
const MAX_EMPTY_STEPS = 4;

/** See the module's comment. */
export class ManualEngine implements Disposable {
  /** What was opened. */
  readonly model: Model;
  readonly #native: NativeEngine;
  readonly #context: PrepareContext<number[]>;
  readonly #active = new Map<bigint, CollectedRequest>();

  private constructor(model: Model, options: EngineOptions) {
    checkOptions(options);
    this.model = model;
    this.#native = NativeEngine.open(openLibrary(options.library), encodeModel(model), {
      maxStepMs: 0, // what a step computes is then no question of time
      ...options,
      manual: true,
    });
    this.#context = {
      model,
      limits: limitsOf(model, this.#native.stats()),
      encode: (text, { addSpecialTokens, literal = [] }) =>
        model.tokenizer.encode(text, {
          addSpecialTokens,
          literal: options.trustMessageTokens ? [] : literal,
        }),
    };
    this.#dispatch();
  }

  /**
   * Open a model: a path, a Hub id, or one that `loadModel` has read. Its weights are loaded on return.
   *
   * @throws {ModelError} when the model cannot be read
   * @throws {EngineError} when it cannot be run
   */
  static async open(source: string | Model, options: EngineOptions = {}): Promise<ManualEngine> {
    const { loadFormat = "auto" } = options;
    const model = typeof source === "string" ? await loadModel(source, { loadFormat }) : source;
    return new ManualEngine(model, options);
  }

  /**
   * Queue a request; nothing is computed before {@linkcode step}.
   *
   * @throws {EngineError} when it is refused
   */
  generate(request: Omit<GenerateRequest, "signal">): ManualRequest {
    const { promptTokens, native, output: settings } = prepare(request, this.#context).encode();
    const id = this.#native.submit(Uint32Array.from(promptTokens), native);
    const { tokenizer } = this.model;
    const stopSequence = (index: number, keepTokens: number) =>
      this.#native.stopSequence(id, index, keepTokens);
    const collected = new CollectedRequest(
      { settings, promptTokens, tokenizer, stopSequence },
      () => this.#native.cancel(id),
    );
    this.#active.set(id, collected);
    return collected;
  }

  /**
   * Run one scheduler step and take in what it produced. Returns the input tokens computed; 0 means
   * that there was nothing to do.
   */
  step(): number {
    const numTokens = this.#native.step();
    this.#dispatch();
    return numTokens;
  }

  /**
   * Step until no request is left. Returns the number of steps.
   *
   * @throws {Error} when requests are left and steps compute nothing
   */
  runUntilIdle(): number {
    let numSteps = 0;
    for (let numEmpty = 0; this.#active.size > 0; numSteps++) {
      numEmpty = this.step() === 0 ? numEmpty + 1 : 0;
      if (numEmpty > MAX_EMPTY_STEPS) {
        throw new Error(`Cannot run until idle: ${this.#active.size} requests make no progress`);
      }
    }
    // A step that was staged before its request ended still holds blocks.
    while (this.step() > 0) numSteps++;
    return numSteps;
  }

  /**
   * Verify that no KV block is lost or shared wrongly.
   *
   * @throws {EngineError} when free + cached + held KV blocks are not all there are
   */
  checkIntegrity(): void {
    this.#native.checkIntegrity();
  }

  /** Gauges of now, counters since open. */
  stats(): EngineStats {
    return this.#native.stats();
  }

  /** Free it, whatever still runs. Harmless when it is closed. */
  close(): void {
    this.#native.close();
  }

  /** As {@linkcode close}, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  #dispatch(): void {
    for (;;) {
      const events = this.#native.pollNow() ?? [];
      if (events.length === 0) return;
      for (const event of events) {
        if (event.kind === "failed") throw event.error;
        if (event.kind === "ready") continue;
        if (this.#active.get(event.request)?.take(event)) this.#active.delete(event.request);
      }
    }
  }
}

class CollectedRequest implements ManualRequest {
  /** Ids of the prompt as the model gets it. */
  readonly promptTokens: readonly number[];
  readonly outputs: readonly SequenceLog[];
  error: EngineError | undefined;
  readonly #output: RequestOutput;
  readonly #cancelNative: () => void;

  constructor(options: OutputOptions, cancelNative: () => void) {
    const { promptTokens, settings } = options;
    this.promptTokens = promptTokens;
    this.#output = new RequestOutput(options);
    this.#cancelNative = cancelNative;
    const nothing = { text: "", parts: [], tokens: [], finishReason: null, stopReason: null };
    const logprobs = settings.logprobs ? new LogprobList() : undefined;
    this.outputs = Array.from(
      { length: settings.numSequences },
      (_, index) => new SequenceLog({ index, ...nothing, logprobs }),
    );
  }

  get numCachedTokens(): number {
    return this.#output.numCachedTokens;
  }

  get promptLogprobs(): readonly (PositionLogprobs | undefined)[] | undefined {
    return this.#output.promptLogprobs;
  }

  get ended(): boolean {
    return this.error !== undefined || this.#output.ended;
  }

  cancel(): void {
    if (!this.ended) this.#cancelNative();
  }

  /** True when the event was the request's last. */
  take(event: OutputEvent | { readonly kind: "error"; readonly error: EngineError }): boolean {
    if (event.kind === "error") {
      this.error = event.error;
      return true;
    }
    const chunk = this.#output.take(event);
    if (chunk !== undefined) this.outputs[chunk.index]!.add(chunk);
    return this.#output.released;
  }
}

/**
 * The engine as programs see it: text in, text out, everything native hidden.
 *
 * @module
 */
import type { Model } from "../model/spec.ts";
import type { EngineOptions, EngineStats, GenerateRequest, Generation } from "./types.ts";

/** Options of {@linkcode Engine.open}. */
export interface OpenOptions extends EngineOptions {
  /** Wait for the weights; false returns at once, and `engine.ready` tells when. [true] */
  readonly waitUntilReady?: boolean;
}

/** One model on one device. Shape only: the body follows. */
export declare class Engine implements AsyncDisposable {
  /** A path, a Hub id or a model that `loadModel` has read. */
  static open(source: string | Model, options?: OpenOptions): Promise<Engine>;
  readonly model: Model;
  /** Prompt and output together, in tokens. */
  readonly maxModelLen: number;
  /** Resolves when the weights are loaded; rejects with an EngineError when loading failed. */
  readonly ready: Promise<void>;
  /** Throws an EngineError at once for an invalid field; see `Generation.accepted` for the rest. */
  generate(request: GenerateRequest): Generation;
  tokenize(text: string, options?: { readonly addSpecialTokens?: boolean }): Promise<number[]>;
  detokenize(tokens: readonly number[], options?: { readonly skipSpecialTokens?: boolean }): string;
  stats(): EngineStats;
  /** `key: value` lines: device, threads, kernels, dtypes. */
  describe(): string;
  /** Takes no new requests; resolves when none is left. `drain: false` cancels those that run. */
  stop(options?: { readonly drain?: boolean }): Promise<void>;
  /** Stops without draining and frees the engine. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

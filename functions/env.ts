/**
 * What the functions need from the process around them: an engine, and what a request carries.
 *
 * @module
 */
import type { Model } from "../model/spec.ts";
import type {
  EngineError,
  EngineStats,
  GenerateRequest,
  Run,
  RunObserver,
} from "../engine/types.ts";
import type { Caller } from "./server/caller.ts";
import type { Instance } from "./server/instance.ts";
import type { RequestRecord } from "./server/request_record.ts";

/** The part of `Engine` that functions use, so that tests can put another one in its place. */
export interface ServedEngine {
  readonly model: Pick<
    Model,
    "name" | "architecture" | "tokenizer" | "chatTemplate" | "samplingDefaults"
  >;
  /** Prompt and output together, in tokens. */
  readonly maxModelLen: number;
  /** Of engines with one fingerprint, equal requests with equal seeds get equal tokens. */
  readonly fingerprint: string;
  /** Resolves when the weights are loaded; rejects when they cannot be. */
  readonly ready: Promise<void>;
  /** Why it runs no step any more; undefined while it does. */
  readonly failure: EngineError | undefined;
  generate(request: GenerateRequest, observer?: RunObserver): Run;
  tokenize(text: string, options?: { readonly addSpecialTokens?: boolean }): Promise<number[]>;
  detokenize(
    tokens: readonly number[],
    options?: { readonly skipSpecialTokens?: boolean },
  ): string;
  stats(): EngineStats;
  /** `key: value` lines: device, threads, kernels, dtypes. */
  describe(): string;
  stop(options: { readonly drain: boolean }): Promise<void>;
  close(): void | Promise<void>;
}

/** Hono's environment of every function. */
export interface Env {
  Variables: {
    instance: Instance;
    /** Set by `openEngine` and `warmEngine`. */
    engine: ServedEngine;
    requestId: string;
    caller: Caller;
    record: RequestRecord;
    /** Aborts when the caller leaves. */
    signal: AbortSignal;
  };
}

/**
 * What the functions need from the process around them: an engine, and what a request carries.
 *
 * @module
 */
import type { OpenAPIHono } from "@hono/zod-openapi";
import type { TemplatesOf } from "../../engine/conversation/render.ts";
import type { LiteralSpan, Model } from "../../model/spec.ts";
import type {
  EngineError,
  EngineStats,
  GenerateRequest,
  Run,
  RunObserver,
} from "../../engine/types.ts";
import type { UnreadOutput } from "../../engine/unread_output.ts";
import type { ErrorShape } from "../dialects/dialect.ts";
import type { IncomingBody } from "./bodies.ts";
import type { Caller } from "./caller.ts";
import type { Instance } from "./instance.ts";
import type { RequestRecord } from "./request_record.ts";

/** The part of `Engine` that functions use, so that tests can put another one in its place. */
export interface ServedEngine {
  readonly model:
    & TemplatesOf
    & Pick<Model, "architecture" | "tokenizer" | "tokenizerClass" | "samplingDefaults">;
  /** Prompt and output together, in tokens. */
  readonly maxModelLen: number;
  /** Of engines with one fingerprint, equal requests with equal seeds get equal tokens. */
  readonly fingerprint: string;
  /** Resolves when the weights are loaded; rejects when they cannot be. */
  readonly ready: Promise<void>;
  /** Output that waits for its readers, of all requests. */
  readonly unread: UnreadOutput;
  /** Why it runs no step any more; undefined while it does. */
  readonly failure: EngineError | undefined;
  generate(request: GenerateRequest, observer?: RunObserver): Run;
  tokenize(text: string, options?: {
    readonly addSpecialTokens?: boolean;
    readonly literal?: readonly LiteralSpan[];
    readonly signal?: AbortSignal;
    readonly caller?: string;
  }): Promise<number[]>;
  detokenize(
    tokens: readonly number[],
    options?: { readonly skipSpecialTokens?: boolean },
  ): string;
  stats(): EngineStats;
  /** `key: value` lines: device, threads, kernels, dtypes. */
  describe(): string;
  close(): void | Promise<void>;
}

/** Routes that say errors in a form of their own. */
export interface ErrorForm {
  readonly routes: readonly string[];
  readonly errorShape: ErrorShape;
}

/** A function: a Hono app that finds what it needs in the context. */
export type HttpFunction = OpenAPIHono<Env> & {
  /** Absent: OpenAI's. */
  readonly form?: ErrorForm;
};

/** Hono's environment of every function. */
export interface Env {
  Variables: {
    instance: Instance;
    requestId: string;
    caller: Caller;
    record: RequestRecord;
    body: IncomingBody;
    /** Of the route's dialect. */
    errorShape: ErrorShape;
    /** Aborts when the caller leaves. */
    signal: AbortSignal;
  };
}

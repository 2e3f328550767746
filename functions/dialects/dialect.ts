/**
 * A dialect: one API's way to ask for a generation and to tell what came of it. It is a folder of its own,
 * which knows neither the server nor the other dialects; `server/generate_function.ts` runs it.
 *
 * @module
 */
import type { z } from "@hono/zod-openapi";
import type { GenerateChunk, GenerateRequest, Run, RunResult } from "../../engine/types.ts";
import type { Tokenizer } from "../../model/spec.ts";
import type { HttpError } from "./http_error.ts";

/** What every dialect's body has. */
export interface AnyBody {
  /** None: the one that is served first. */
  readonly model?: string | null | undefined;
  readonly stream?: boolean | null | undefined;
}

/** An API that generates. */
export interface Dialect<Body extends AnyBody = AnyBody> {
  /** For programs that are made of the description: `createChatCompletion`. */
  readonly operationId: string;
  /** For people: `Answer a conversation`. */
  readonly summary: string;
  /** Its routes, each for POST; the first is described. */
  readonly routes: readonly string[];
  /** Of the body. A field that is wrong is refused in the form of `errorShape`. */
  readonly schema: z.ZodType<Body>;
  /** Of a whole answer, for its description. */
  readonly answer: { readonly description: string; readonly schema: z.ZodType };
  /**
   * What a body asks of the engine: one request, or several that are answered together.
   *
   * @throws {HttpError} where fields do not go together
   */
  toRequests(body: Body): readonly GenerateRequest[];
  /**
   * The engine's fields as this body calls them, where they differ by more than case.
   *
   * @param i which of its requests
   */
  names?(body: Body, i: number): Readonly<Record<string, string>>;
  /** Of the answer to a body, of which it keeps nothing large: a stream may last for hours. */
  writer(body: Body, answering: Answering): Writer;
  /** How everything that goes wrong on its routes is said, before and after the body is read. */
  readonly errorShape: ErrorShape;
  /** Of what `errorShape` makes, for its description. */
  readonly errorSchema: z.ZodType;
  readonly sse: EventForm;
}

/** From a refusal to the object that says it. */
export type ErrorShape = (error: HttpError) => object;

/** What server-sent events look like beside their data. */
export interface EventForm {
  /** The `event:` line of an event; absent: none has one. */
  readonly nameOf?: (event: object) => string;
  /** What the last event's data is, behind all that went well; absent: nothing. */
  readonly end?: string;
}

/** What answers a request. */
export interface Answering {
  /** The name that answers carry. */
  readonly model: string;
  readonly fingerprint: string;
  readonly tokenizer: Tokenizer;
  /** One for each of the requests; their tokens are counted while they run. */
  readonly runs: readonly Run[];
}

/** Writes one answer, in either of its two forms. */
export interface Writer {
  /** One object, of each run's result. */
  whole(results: readonly RunResult[]): object;
  /** Events before the first chunk. */
  begin(): readonly object[];
  /** Events of what is new of a run. @param run its number */
  chunk(run: number, chunk: GenerateChunk): readonly object[];
  /** Events behind the last chunk. */
  end(): readonly object[];
}

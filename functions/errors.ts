/**
 * Every error leaves as OpenAI's object: `{ error: { message, type, param, code } }`.
 *
 * @module
 */
import type { Context, ErrorHandler, Hono, MiddlewareHandler, NotFoundHandler } from "hono";
import { HTTPException } from "hono/http-exception";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import type { z } from "@hono/zod-openapi";
import { SUBMITTING } from "../engine/refuse.ts";
import { EngineError, type EngineErrorCode, ruleSentence } from "../engine/types.ts";
import type { Env } from "./env.ts";
import { CALLER_LEFT } from "./server/request_record.ts";
import { standardError } from "./server/standard_output.ts";
import { describeIssue } from "./wire/invalid_body.ts";

/** The inside of OpenAI's error object. */
export interface ErrorObject {
  readonly message: string;
  readonly type: string;
  readonly param: string | null;
  readonly code: string | null;
}

/** A request that is refused, with all that the answer says. */
export class HttpError extends Error {
  override name = "HttpError";
  constructor(
    readonly status: ContentfulStatusCode,
    readonly code: string,
    message: string,
    readonly param: string | null = null,
    readonly retryAfterMs?: number,
  ) {
    super(message);
  }

  get object(): ErrorObject {
    return {
      message: this.message,
      type: typeOf(this.status),
      param: this.param,
      code: this.code,
    };
  }
}

/** Status and code; what is undefined tells of paths and internals, so callers do not see it. */
const ENGINE_ERRORS: Record<
  EngineErrorCode,
  readonly [ContentfulStatusCode, string] | undefined
> = {
  invalid_argument: [400, "invalid_value"],
  context_length_exceeded: [400, "context_length_exceeded"],
  unsupported: [400, "unsupported"],
  queue_full: [429, "queue_full"],
  deadline: [503, "deadline"],
  not_ready: [503, "not_ready"],
  closing: [503, "closing"],
  out_of_memory: [503, "out_of_memory"],
  device_lost: [503, "device_lost"],
  io_error: undefined,
  internal: undefined,
};

function typeOf(status: number): string {
  if (status === 401) return "authentication_error";
  if (status === 429) return "rate_limit_error";
  if (status >= 500) return "server_error";
  return "invalid_request_error";
}

/** Why an engine has failed, in words that callers may read. */
export function failureReason(failure: EngineError | undefined): string {
  const known = failure !== undefined && ENGINE_ERRORS[failure.code] !== undefined;
  return known ? failure.message : "the log of the server has more";
}

/** Any thrown value as an answer. What is not meant for the caller goes to the log alone. */
export function toHttpError(error: unknown, requestId = "-"): HttpError {
  if (error instanceof HttpError) return error;
  const refusal = error instanceof EngineError ? refusalOf(error) : undefined;
  if (refusal !== undefined) return refusal;
  if (error instanceof HTTPException) return fromHono(error);
  standardError.line(`request ${requestId} failed: ${Deno.inspect(error)}`);
  return new HttpError(500, "internal_error", `Internal error: the log of the server has more`);
}

/**
 * An engine's error as an answer; undefined for what callers do not see. The engine speaks of
 * maxTokens, the caller wrote max_tokens.
 *
 * @param names of the engine's fields on a route's wire, where they differ by more than case
 */
export function refusalOf(
  error: EngineError,
  names: Readonly<Record<string, string>> = {},
): HttpError | undefined {
  const known = ENGINE_ERRORS[error.code];
  if (known === undefined) return undefined;
  const [status, code] = known;
  const { field, rule, value, retryAfterMs } = error;
  if (field === undefined || rule === undefined) {
    return new HttpError(status, code, error.message, null, retryAfterMs);
  }
  const param = names[field] ?? snakeCase(field);
  const message = ruleSentence(SUBMITTING, { field: param, rule, value });
  return new HttpError(status, code, message, param, retryAfterMs);
}

function fromHono(exception: HTTPException): HttpError {
  if (exception.status === 415) {
    return new HttpError(
      415,
      "unsupported_media_type",
      "Cannot read request: content-type must be application/json",
    );
  }
  if (exception.status === 400) {
    return new HttpError(400, "invalid_json", "Cannot read request: the body is not valid JSON");
  }
  return new HttpError(exception.status as ContentfulStatusCode, "error", exception.message);
}

/** Answers for a thrown error; `Retry-After` is in whole seconds. */
export const onError: ErrorHandler<Env> = (error, c) => {
  const refused = c.var.record.left
    ? new HttpError(
      CALLER_LEFT as ContentfulStatusCode,
      "caller_left",
      "The caller left before the answer",
    )
    : toHttpError(error, c.var.requestId);
  if (refused.retryAfterMs !== undefined) {
    c.header("Retry-After", String(Math.max(1, Math.ceil(refused.retryAfterMs / 1000))));
  }
  if (refused.status === 401) c.header("WWW-Authenticate", "Bearer");
  return c.json({ error: refused.object }, refused.status);
};

/** Known routes asked with another method; stands behind all functions. */
export function methodNotAllowed(app: Hono<Env>): MiddlewareHandler<Env> {
  return function methodNotAllowed(c, next) {
    const methods = app.routes.filter(({ path, method }) => path === c.req.path && method !== "ALL")
      .map(({ method }) => method);
    if (methods.length === 0) return next();
    const allowed = [...new Set(methods)].join(", ");
    c.header("Allow", allowed);
    const message = `Cannot answer: ${c.req.path} takes ${allowed}: ` +
      `current method is ${c.req.method}`;
    throw new HttpError(405, "method_not_allowed", message);
  };
}

/** Unknown routes. */
export const notFound: NotFoundHandler<Env> = (c) => {
  const { method, path } = c.req;
  const message = `Cannot find route: ${method} ${path}; /openapi.json lists what there is`;
  return onError(new HttpError(404, "not_found", message), c) as Response;
};

/** Hook of every function's validators. Takes the first thing wrong: one clear sentence. */
export function rejectInvalid(
  result: { readonly success: boolean; readonly data?: unknown; readonly error?: z.ZodError },
  c: Context,
): Response | undefined {
  const issue = result.error?.issues[0];
  if (result.success || issue === undefined) return undefined;
  const { message, param } = describeIssue(issue, result.data);
  return onError(new HttpError(400, "invalid_value", message, param), c) as Response;
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

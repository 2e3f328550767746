/**
 * Whatever is thrown leaves as an answer, in the form of the dialect whose route was asked.
 *
 * @module
 */
import type { ErrorHandler, Hono, MiddlewareHandler, NotFoundHandler } from "hono";
import { HTTPException } from "hono/http-exception";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { EngineError } from "../../engine/types.ts";
import { HttpError, isForCallers, refusalOf } from "../dialects/http_error.ts";
import type { Env } from "./env.ts";
import { CALLER_LEFT } from "./request_record.ts";
import { standardError } from "./standard_output.ts";

/** Why an engine has failed, in words that callers may read. */
export function failureReason(failure: EngineError | undefined): string {
  const isKnown = failure !== undefined && isForCallers(failure);
  return isKnown ? failure.message : "the log of the server has more";
}

/** Any thrown value as an answer. What is not meant for the caller goes to the log alone. */
export function toHttpError(error: unknown, requestId = "-"): HttpError {
  if (error instanceof HttpError) return error;
  const refusal = error instanceof EngineError ? refusalOf(error) : undefined;
  if (refusal !== undefined) return refusal;
  if (error instanceof HTTPException) {
    return new HttpError(error.status as ContentfulStatusCode, "error", error.message);
  }
  // Indented: a line of what a caller wrote is none of ours.
  const told = Deno.inspect(error).replaceAll("\n", "\n    ");
  standardError.line(`request ${requestId} failed: ${told}`);
  return new HttpError(500, "internal_error", `Internal error: the log of the server has more`);
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
  // What comes too late now does so a second later: OpenAI's clients would try it twice more.
  if (refused.code === "deadline") c.header("x-should-retry", "false");
  if (refused.status === 401) c.header("WWW-Authenticate", "Bearer");
  return c.json(c.var.errorShape(refused), refused.status);
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

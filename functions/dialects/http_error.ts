/**
 * A refusal as data: every dialect gives it its own shape.
 *
 * @module
 */
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { SUBMITTING } from "../../engine/refuse.ts";
import { type EngineError, type EngineErrorCode, ruleSentence } from "../../engine/types.ts";
import { wireName } from "../../ffi/field.ts";
import { REQUEST_FIELDS } from "../../ffi/request_fields.ts";

/** A request that is refused, with all that the answer says. */
export class HttpError extends Error {
  override name = "HttpError";
  constructor(
    readonly status: ContentfulStatusCode,
    readonly code: string,
    message: string,
    /** The field at fault, as the caller wrote it: `messages[0].role`. */
    readonly param: string | null = null,
    readonly retryAfterMs?: number,
  ) {
    super(message);
  }
}

/**
 * Refuses a body.
 *
 * @param rule what follows the field's name: `must be 0 to 2`
 */
export function refuseBody(param: string, rule: string, code = "invalid_value"): never {
  throw new HttpError(400, code, `Cannot read request: ${param} ${rule}`, param);
}

/** Status and code; what is undefined tells of paths and internals, so callers do not see it. */
const ENGINE_ERRORS: Record<
  EngineErrorCode,
  readonly [ContentfulStatusCode, string] | undefined
> = {
  invalid_argument: [400, "invalid_value"],
  context_length_exceeded: [400, "context_length_exceeded"],
  output_too_long: [400, "output_too_long"],
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

/** Whether callers may read what an engine's error says. */
export function isForCallers({ code }: EngineError): boolean {
  return ENGINE_ERRORS[code] !== undefined;
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
  const param = names[field] ?? wireName(field, REQUEST_FIELDS);
  const message = ruleSentence(SUBMITTING, { field: param, rule, value });
  return new HttpError(status, code, message, param, retryAfterMs);
}

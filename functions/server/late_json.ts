/**
 * A whole answer as JSON, whose caller may leave while it is made.
 *
 * @module
 */
import type { Context } from "hono";
import type { Env } from "./env.ts";
import { toHttpError } from "./errors.ts";
import { LATE, within } from "./within.ts";

/** Errors up to here still have their status. */
const QUICK_MS = 200;

/**
 * Answers with `answer` as JSON. When it takes longer than a moment the head of the response goes
 * out alone, because only then a caller who leaves is noticed: Deno 2.9.6 does not watch the
 * connection of a request whose body came in more than one piece until its response has begun, and
 * `req.signal` is then silent. An error after that breaks the connection off: a 200 is never
 * followed by anything but an answer.
 *
 * @param cancel called when the caller leaves
 */
export async function lateJson(
  c: Context<Env>,
  answer: Promise<object>,
  cancel: () => void,
): Promise<Response> {
  const quick = await within(answer, QUICK_MS);
  if (quick !== LATE) return c.json(quick);

  const { record, requestId } = c.var;
  const { promise: finished, resolve: finish } = Promise.withResolvers<void>();
  record.finished = finished;
  const body = new ReadableStream<Uint8Array>({
    async start(controller) {
      try {
        controller.enqueue(new TextEncoder().encode(JSON.stringify(await answer)));
        controller.close();
      } catch (error) {
        if (record.left) return;
        const { status, message } = toHttpError(error, requestId);
        record.failedStatus = status;
        controller.error(withoutStack(message));
      } finally {
        finish();
      }
    },
    cancel() {
      record.left = true;
      cancel();
    },
  });
  return c.body(body, 200, { "content-type": "application/json" });
}

/** Deno prints the error that breaks a connection off. */
function withoutStack(message: string): Error {
  const error = new Error(message);
  delete error.stack;
  return error;
}

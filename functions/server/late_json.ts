/**
 * A whole answer as JSON, whose caller may leave while it is made, and while it is written.
 *
 * @module
 */
import type { Context } from "hono";
import type { Env } from "./env.ts";
import { toHttpError } from "./errors.ts";
import { jsonPieces } from "./json_pieces.ts";
import { inTurn } from "./turn.ts";
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
 * @param signal gives the answer up, while it is written, too
 */
export async function lateJson(
  c: Context<Env>,
  answer: Promise<object>,
  { cancel, signal }: { readonly cancel: () => void; readonly signal: AbortSignal },
): Promise<Response> {
  const { record, requestId } = c.var;
  const pieces = encoded(answer);
  const first = pieces.next();
  const ahead = [first];
  if (await within(first, QUICK_MS) !== LATE) {
    const second = pieces.next();
    if ((await second).done) return json(c, (await first).value!);
    ahead.push(second);
  }

  const { promise: finished, resolve: finish } = Promise.withResolvers<void>();
  record.finished = finished;
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    start(controller) {
      signal.addEventListener("abort", () => fail(controller, signal.reason));
    },
    async pull(controller) {
      try {
        const { done, value } = await (ahead.shift() ?? pieces.next());
        if (!done) return controller.enqueue(value);
        controller.close();
        finish();
      } catch (error) {
        fail(controller, error);
      }
    },
    cancel() {
      record.left = true;
      cancel();
      finish();
    },
  }, { highWaterMark: 0 });

  function fail(controller: ReadableStreamDefaultController, error: unknown): void {
    if (!record.left) {
      const { status, message } = toHttpError(error, requestId);
      record.failedStatus = status;
      controller.error(withoutStack(message));
    }
    finish();
  }
  return json(c, body);
}

function json(c: Context<Env>, body: ReadableStream | Uint8Array<ArrayBuffer>): Response {
  return c.body(body, 200, { "content-type": "application/json" });
}

async function* encoded(answer: Promise<object>) {
  const encoder = new TextEncoder();
  const pieces = jsonPieces(await answer);
  for (;;) {
    const { done, value } = await inTurn(() => pieces.next());
    if (done) return;
    yield encoder.encode(value);
  }
}

/** Deno prints the error that breaks a connection off. */
function withoutStack(message: string): Error {
  const error = new Error(message);
  delete error.stack;
  return error;
}

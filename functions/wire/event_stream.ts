/**
 * Server-sent events: `data:` lines, a comment on a silent stream, an end that says how it ended.
 *
 * @module
 */
import type { Context } from "hono";
import type { Env } from "../env.ts";
import { toHttpError } from "../errors.ts";
import { LATE, within } from "./within.ts";

const PING_MS = 15_000;
const encoder = new TextEncoder();

/**
 * Answers with one event for each object of `events`, then `[DONE]`. An error that is thrown on the
 * way becomes the last event: `{ error: … }`, without `[DONE]`. The reader's pace is ours: nothing
 * is taken out of `events` before it is wanted.
 *
 * @param cancel called when the reader leaves; `events` is then left alone
 */
export function eventStream(
  c: Context<Env>,
  events: AsyncIterable<object>,
  { cancel, pingMs = PING_MS }: { readonly cancel: () => void; readonly pingMs?: number },
): Response {
  const { record, requestId } = c.var;
  const { promise: finished, resolve: finish } = Promise.withResolvers<void>();
  record.finished = finished;
  const iterator = events[Symbol.asyncIterator]();
  let next: Promise<IteratorResult<object>> | undefined;

  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      next ??= iterator.next();
      try {
        const result = await within(next, pingMs);
        if (result === LATE) return controller.enqueue(encoder.encode(": ping\n\n"));
        next = undefined;
        if (!result.done) return controller.enqueue(dataEvent(result.value));
        controller.enqueue(encoder.encode("data: [DONE]\n\n"));
      } catch (error) {
        if (record.left) return finish();
        controller.enqueue(dataEvent({ error: toHttpError(error, requestId).object }));
      }
      controller.close();
      finish();
    },
    async cancel() {
      record.left = true;
      cancel();
      await iterator.return?.().catch(() => {});
      finish();
    },
  }, { highWaterMark: 0 });

  return c.body(body, 200, {
    "content-type": "text/event-stream; charset=utf-8",
    // no-transform: a compressor would hold events back.
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
  });
}

function dataEvent(value: object): Uint8Array {
  return encoder.encode(`data: ${JSON.stringify(value)}\n\n`);
}

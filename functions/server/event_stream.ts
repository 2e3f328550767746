/**
 * Server-sent events: a comment on a silent stream, an end that says how it ended.
 *
 * @module
 */
import type { Context } from "hono";
import type { EventForm } from "../dialects/dialect.ts";
import type { Env } from "./env.ts";
import { toHttpError } from "./errors.ts";
import { inTurn } from "./turn.ts";

const PING_MS = 15_000;
const encoder = new TextEncoder();
const PING = encoder.encode(": ping\n\n");

/**
 * Answers with the events of `batches`, in the form of a dialect. An error that is thrown on the way
 * becomes the last event. The reader's pace is ours: nothing is taken out of `batches` before it is
 * wanted.
 *
 * @param cancel called when the reader leaves or `batches` fails, which is then left alone
 */
export function eventStream(
  c: Context<Env>,
  batches: AsyncIterable<readonly object[]>,
  { cancel, form, pingMs = PING_MS }: {
    readonly cancel: () => void;
    readonly form: EventForm;
    readonly pingMs?: number;
  },
): Response {
  const { record, requestId, errorShape } = c.var;
  const { promise: finished, resolve } = Promise.withResolvers<void>();
  record.finished = finished;
  const iterator = batches[Symbol.asyncIterator]();
  let ping: ReturnType<typeof setInterval> | undefined;
  let quietSince = performance.now();
  const finish = () => {
    clearInterval(ping);
    resolve();
  };

  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      // One timer a stream, not one an event: a silent stream has its comment a little later at times.
      ping = setInterval(() => {
        const isQuiet = performance.now() - quietSince >= pingMs - 1;
        if (isQuiet && controller.desiredSize === 0) controller.enqueue(PING);
      }, pingMs);
    },
    async pull(controller) {
      try {
        const { done, value } = await iterator.next();
        quietSince = performance.now();
        if (!done) {
          const bytes = await inTurn(() => encoder.encode(textOf(value, form)));
          return record.left ? undefined : controller.enqueue(bytes);
        }
        if (form.end !== undefined) controller.enqueue(encoder.encode(`data: ${form.end}\n\n`));
      } catch (error) {
        cancel();
        if (record.left) return finish();
        const refused = toHttpError(error, requestId);
        record.failedStatus = refused.status;
        controller.enqueue(encoder.encode(textOf([errorShape(refused)], form)));
      }
      controller.close();
      finish();
    },
    async cancel() {
      clearInterval(ping); // nothing may be put into a stream that has ended
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

function textOf(events: readonly object[], { nameOf }: EventForm): string {
  let text = "";
  for (const event of events) {
    if (nameOf !== undefined) text += `event: ${nameOf(event)}\n`;
    text += `data: ${JSON.stringify(event)}\n\n`;
  }
  return text;
}

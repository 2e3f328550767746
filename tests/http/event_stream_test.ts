import assert from "node:assert/strict";
import { Hono } from "hono";
import { openAiError } from "../../functions/dialects/openai/error_shape.ts";
import type { Env } from "../../functions/server/env.ts";
import { RequestRecord } from "../../functions/server/request_record.ts";
import { Timings } from "../../functions/server/histogram.ts";
import { eventStream } from "../../functions/server/event_stream.ts";
import { standardError } from "../../functions/server/standard_output.ts";
import { linesTo } from "./harness.ts";

/** Asks an app whose one route streams `events`. */
async function streamOf(
  events: AsyncIterable<readonly object[]>,
  options: { cancel?: () => void; pingMs?: number } = {},
): Promise<{ response: Response; record: RequestRecord }> {
  const record = new RequestRecord(new Timings());
  const app = new Hono<Env>().get("/", (c) => {
    c.set("record", record);
    c.set("errorShape", openAiError);
    return eventStream(c, events, { cancel: () => {}, form: { end: "[DONE]" }, ...options });
  });
  return { response: await app.request("/"), record };
}

Deno.test("eventStream writes a comment while nothing happens", async () => {
  const { promise: silence, resolve: speak } = Promise.withResolvers<void>();
  async function* events() {
    await silence;
    yield [{ a: 1 }];
  }
  const started = performance.now();
  const { response } = await streamOf(events(), { pingMs: 20 });
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  for (let pings = 0; pings < 2; pings++) {
    assert.equal((await reader.read()).value, ": ping\n\n");
  }
  const ms = performance.now() - started;
  assert.ok(ms > 35, `two pings after ${ms} ms`);
  speak();
  let rest = "";
  for (let next = await reader.read(); !next.done; next = await reader.read()) rest += next.value;
  assert.match(rest, /^(: ping\n\n)*data: \{"a":1\}\n\ndata: \[DONE\]\n\n$/);
});

Deno.test("eventStream ends in an error object, without [DONE]", async () => {
  // deno-lint-ignore require-yield
  async function* events(): AsyncGenerator<readonly object[]> {
    throw new RangeError("secret detail");
  }
  const { response, record } = await streamOf(events());
  let text = "";
  const log = await linesTo(standardError, async () => {
    text = await response.text();
  });
  assert.match(log.join(), /secret detail/);
  assert.match(
    text,
    /^data: \{"error":\{"message":"Internal error.*"code":"internal_error"\}\}\n\n$/,
  );
  assert.ok(!text.includes("secret"));
  await record.finished;
});

Deno.test("eventStream takes no event before it is wanted", async () => {
  let taken = 0;
  async function* events() {
    for (;;) yield [{ taken: ++taken }];
  }
  const { response } = await streamOf(events());
  const reader = response.body!.getReader();
  for (let i = 0; i < 3; i++) await reader.read();
  assert.ok(taken <= 4, `${taken} taken for 3 read`);
  await reader.cancel();
});

Deno.test("eventStream tells its source when the reader leaves", async () => {
  let cancelled = 0;
  let returned = false;
  async function* events() {
    try {
      for (;;) yield [{ a: 1 }];
    } finally {
      returned = true;
    }
  }
  const { response, record } = await streamOf(events(), { cancel: () => cancelled++ });
  const reader = response.body!.getReader();
  await reader.read();
  await reader.cancel();
  await record.finished;
  assert.deepEqual([cancelled, returned, record.left], [1, true, true]);
});

Deno.test("eventStream puts no comment into a stream that its reader has left", async () => {
  async function* events() {
    await new Promise((resolve) => setTimeout(resolve, 120));
    yield [{ a: 1 }];
  }
  const { response, record } = await streamOf(events(), { pingMs: 20 });
  const reader = response.body!.getReader();
  const read = reader.read();
  await reader.cancel(); // a comment now would end the process
  await read;
  await record.finished;
});

Deno.test("eventStream cancels what is left where its source fails", async () => {
  let cancelled = 0;
  // deno-lint-ignore require-yield
  async function* events(): AsyncGenerator<readonly object[]> {
    throw new RangeError("no more");
  }
  const { response } = await streamOf(events(), { cancel: () => cancelled++ });
  await linesTo(standardError, async () => void await response.text());
  assert.equal(cancelled, 1);
});

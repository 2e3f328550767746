import assert from "node:assert/strict";
import { Bodies } from "../../functions/server/bodies.ts";
import { fakeHarness } from "./harness.ts";

const COMPLETIONS = "/v1/completions";

Deno.test("Bodies counts what is under way, and refuses what is too much together", () => {
  const bodies = new Bodies(() => ({ bytes: 100, sumBytes: 150 }));
  const [first, second] = [bodies.open(0), bodies.open(100)];
  first.take(100);
  assert.throws(() => first.take(1), { status: 413, code: "body_too_large" });
  assert.throws(() => bodies.open(101), { status: 413 });
  second.take(50);
  assert.throws(() => second.take(1), { status: 429, code: "bodies_full", retryAfterMs: 1000 });
  assert.equal(bodies.numBytes, 150);
  first.close();
  second.take(50);
  second.close();
  second.close();
  assert.equal(bodies.numBytes, 0);
});

Deno.test("a body as large as allowed passes alone, whatever all together may have", () => {
  const bodies = new Bodies(() => ({ bytes: 100, sumBytes: 10 }));
  bodies.open(0).take(100);
});

/** A body that goes on when it is told to. */
function slowBody() {
  const begun = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<string>();
  let isFirst = true;
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const text = isFirst ? '{"prompt":"x","max_tokens":1,"user":"' + "u".repeat(900) : undefined;
      isFirst = false;
      if (text === undefined) begun.resolve();
      controller.enqueue(new TextEncoder().encode(text ?? await goOn.promise));
      if (text === undefined) controller.close();
    },
  }, { highWaterMark: 0 });
  return { body, begun: begun.promise, goOn: () => goOn.resolve('"}') };
}

Deno.test("while bodies are too much together others are 429, and pass afterwards", async () => {
  await using harness = fakeHarness({}, { bodyLimitBytes: 1024, bodyLimitSumBytes: 1024 });
  const { body, begun, goOn } = slowBody();
  const slow = harness.post(COMPLETIONS, "", { body });
  await begun;
  const other = { prompt: "x".repeat(200), max_tokens: 1 };
  const refused = await harness.post(COMPLETIONS, other);
  assert.equal(refused.status, 429);
  assert.equal(refused.headers.get("retry-after"), "1");
  assert.equal((await refused.json()).error.code, "bodies_full");
  assert.equal((await harness.get("/health")).status, 200);
  goOn();
  await (await slow).json();
  assert.equal(harness.instance.bodies.numBytes, 0);
  await harness.json(COMPLETIONS, other);
});

Deno.test("nothing of a body is counted once its request runs, however long that takes", async () => {
  await using harness = fakeHarness({ tokenMs: 20 });
  const body = { prompt: "x", max_tokens: 20, stream: true, user: "u".repeat(1000) };
  const answer = await harness.post(COMPLETIONS, body);
  assert.equal(harness.instance.bodies.numBytes, 0);
  await answer.body!.cancel();
});

Deno.test("the body limit grows with the context: 8 bytes a token and 64 KiB", async () => {
  const maxModelLen = 2 << 20;
  await using harness = fakeHarness({ maxModelLen });
  const needed = 8 * maxModelLen + (64 << 10);
  const post = (length: number) =>
    harness.post("/tokenize", "x", { headers: { "content-length": String(length) } });
  assert.equal((await post(needed)).status, 400);
  const refused = await post(needed + 1);
  assert.equal(refused.status, 413);
  assert.match((await refused.json()).error.message, new RegExp(`at most ${needed} bytes`));
});

import { allowLongTurns, STARTS_WORKER } from "../event_loop_guard.ts";
import assert from "node:assert/strict";
import { Engine } from "../../engine/engine.ts";
import {
  EngineError,
  type GenerateChunk,
  type GenerateRequest,
  type Run,
} from "../../engine/types.ts";
import { NativeEngine } from "../../ffi/native_engine.ts";
import { loadModel } from "../../model/load.ts";
import { onTestDevice } from "../test_device.ts";
import { promptOf, tiny } from "./requests.ts";

const open = (options = {}) => Engine.open(tiny, { ...onTestDevice, maxModelLen: 256, ...options });

const openLong = () => Engine.open(tiny, { ...onTestDevice, maxNumSeqs: 16 });
/** For requests that must still run when the test looks, however busy the machine: takes seconds. */
const long = { maxTokens: 2000, n: 16 };

const greedy = (length: number, rest: Partial<GenerateRequest> = {}): GenerateRequest => ({
  tokens: promptOf(length),
  maxTokens: 12,
  temperature: 0,
  ignoreEos: true,
  ...rest,
});

async function collect(run: Run): Promise<GenerateChunk[]> {
  const chunks: GenerateChunk[] = [];
  for await (const chunk of run) chunks.push(chunk);
  return chunks;
}

/** Waits until the library has let go of everything. */
async function idle(engine: Engine): Promise<void> {
  for (;;) {
    const { kvBlocks, numRequestsRunning, numRequestsWaiting } = engine.stats();
    if (kvBlocks.held + numRequestsRunning + numRequestsWaiting === 0) return;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

Deno.test("Engine.generate() streams text, tokens and one finish reason", async () => {
  await using engine = await open();
  const generation = engine.generate(greedy(5, { logprobs: 1 }));
  const chunks = await collect(generation);
  assert.deepEqual(chunks.filter((chunk) => chunk.finishReason !== null), [chunks.at(-1)]);
  assert.equal(chunks.at(-1)?.finishReason, "length");
  const tokens = chunks.flatMap((chunk) => chunk.tokens);
  assert.equal(tokens.length, 12);
  assert.equal(generation.numOutputTokens, 12);
  assert.deepEqual(generation.promptTokens, promptOf(5));
  assert.deepEqual(
    chunks.flatMap((chunk) => [...chunk.logprobs ?? []].map(({ token }) => token)),
    tokens,
  );
  const text = chunks.map((chunk) => chunk.text).join("");
  const { tokenizer } = engine.model;
  const whole = tokenizer.decode([...promptOf(5), ...tokens], { skipSpecialTokens: true });
  assert.ok(text.length > 0 && whole.endsWith(text));
});

Deno.test("Engine.generate() takes text and answers as for its tokens", async () => {
  await using engine = await open();
  const prompt = "the quick brown fox";
  const generation = engine.generate({ prompt, maxTokens: 12, temperature: 0, ignoreEos: true });
  const chunks = await collect(generation);
  const tokens = await engine.tokenize(prompt);
  assert.deepEqual(generation.promptTokens, tokens);
  const again = await collect(engine.generate(greedy(0, { tokens })));
  const textOf = (chunks: GenerateChunk[]) => chunks.map(({ text }) => text).join("");
  assert.equal(textOf(chunks), textOf(again));
});

Deno.test("Many requests at a time each get what they get alone", async () => {
  await using engine = await open({ maxNumBatchedTokens: 64, numKvBlocks: 40 });
  const requests = Array.from(
    { length: 24 },
    (_, i) => greedy(1 + 7 * i, { seed: i, temperature: i % 2, logprobs: 2 }),
  );
  const together = await Promise.all(requests.map((it) => collect(engine.generate(it))));
  for (const [i, request] of requests.entries()) {
    const alone = await collect(engine.generate(request));
    const bitsOf = (chunks: GenerateChunk[]) =>
      chunks.flatMap(({ logprobs }) => [...logprobs ?? []]);
    assert.deepEqual(bitsOf(together[i]!), bitsOf(alone), `request ${i}`);
  }
  await idle(engine);
});

Deno.test("What fails in one request's output ends that request alone", async () => {
  const model = await loadModel(tiny);
  let failing = false;
  const tokenizer = Object.create(model.tokenizer, {
    vocabSize: { value: model.tokenizer.vocabSize },
    tokenBytes: {
      value: (token: number) => {
        if (failing) {
          failing = false;
          throw new Error("no bytes");
        }
        return model.tokenizer.tokenBytes(token);
      },
    },
    isSpecial: { value: (token: number) => model.tokenizer.isSpecial(token) },
    decode: { value: model.tokenizer.decode.bind(model.tokenizer) },
  });
  await using engine = await Engine.open({ ...model, tokenizer }, {
    ...onTestDevice,
    maxNumSeqs: 8,
  });
  const several = { maxTokens: 2000, n: 4 };
  const generations = [5, 6].map((length) => engine.generate(greedy(length, several)));
  failing = true;
  const outcomes = await Promise.allSettled(generations.map(collect));
  assert.deepEqual(outcomes.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
  const whole = outcomes.find((outcome) => outcome.status === "fulfilled")!;
  assert.equal(whole.value.flatMap(({ tokens }) => tokens).length, 4 * 2000);
  await idle(engine);
  assert.equal(engine.stats().numFinished.cancelled, 4);
});

Deno.test("A request that ends while its prompt is encoded takes no worker's time", async () => {
  allowLongTurns(STARTS_WORKER);
  await using engine = await Engine.open(tiny, onTestDevice);
  const longText = "the quick brown fox ".repeat(200);
  await engine.tokenize(longText);
  const left = engine.generate({ prompt: longText.repeat(3), n: 2 });
  left.cancel();
  const reasons = (await collect(left)).map(({ finishReason }) => finishReason);
  assert.deepEqual(reasons, ["cancelled", "cancelled"]);
  assert.equal(engine.stats().numRequestsSubmitted, 0);

  const huge = engine.generate({ prompt: "x".repeat(8_000_000) });
  await assert.rejects(huge.accepted, { code: "context_length_exceeded", field: "prompt" });
});

Deno.test("Leaving the loop cancels the request", async () => {
  await using engine = await openLong();
  for await (const _ of engine.generate(greedy(5, long))) break;
  await idle(engine);
  assert.equal(engine.stats().numFinished.cancelled, long.n);
});

Deno.test("An exception in the loop cancels the request", async () => {
  await using engine = await openLong();
  await assert.rejects(async () => {
    for await (const _ of engine.generate(greedy(5, long))) throw new Error("mine");
  }, /mine/);
  await idle(engine);
  assert.equal(engine.stats().numFinished.cancelled, long.n);
});

Deno.test("cancel() ends the stream with its reason", async () => {
  await using engine = await openLong();
  const generation = engine.generate(greedy(5, long));
  const reasons: string[] = [];
  for await (const { finishReason } of generation) {
    generation.cancel();
    if (finishReason !== null) reasons.push(finishReason);
  }
  assert.deepEqual(reasons, Array(long.n).fill("cancelled"));
  generation.cancel(); // harmless
});

Deno.test("An AbortSignal ends the request with its reason", async () => {
  await using engine = await openLong();
  const controller = new AbortController();
  const { signal } = controller;
  let numChunks = 0;
  await assert.rejects(async () => {
    for await (const _ of engine.generate(greedy(5, { ...long, signal }))) {
      numChunks++;
      controller.abort(new Error("no more"));
    }
  }, /no more/);
  assert.equal(numChunks, 1);
  await idle(engine);
  assert.equal(engine.stats().numFinished.cancelled, long.n);
});

Deno.test("An AbortSignal that is aborted already throws at once", async () => {
  await using engine = await open();
  const signal = AbortSignal.abort(new Error("too late"));
  assert.throws(() => engine.generate(greedy(5, { signal })), /too late/);
  assert.equal(engine.stats().numRequestsSubmitted, 0);
});

Deno.test("An AbortSignal that outlives the request does no harm", async () => {
  await using engine = await open();
  const controller = new AbortController();
  const generation = engine.generate(greedy(5, { signal: controller.signal }));
  assert.equal((await collect(generation)).at(-1)?.finishReason, "length");
  controller.abort();
});

Deno.test("A request may end while its prompt is still encoded", async () => {
  allowLongTurns(STARTS_WORKER);
  await using engine = await openLong();
  const prompt = "the quick brown fox ".repeat(40);
  await engine.tokenize(prompt.repeat(6)); // from now on a worker encodes
  const cancelled = engine.generate({ prompt });
  cancelled.cancel();
  const chunks = await collect(cancelled);
  assert.deepEqual(chunks.map((chunk) => chunk.finishReason), ["cancelled"]);

  const controller = new AbortController();
  const aborted = engine.generate({ prompt, signal: controller.signal });
  controller.abort(new Error("no more"));
  await assert.rejects(collect(aborted), /no more/);
  assert.equal(engine.stats().numRequestsSubmitted, 0);
});

Deno.test("An observer is told of a run's events as they come, whether it is read or not", async () => {
  await using engine = await open();
  const told: string[] = [];
  const counts = [0, 0];
  const run = engine.generate(greedy(5, { n: 2 }), {
    queued: () => told.push("queued"),
    started: (queueMs) => told.push(queueMs >= 0 && queueMs < 10_000 ? "started" : `${queueMs}`),
    tokens: (index, count) => counts[index]! += count,
  });
  const { sequences } = await run.result();
  assert.deepEqual(told, ["queued", "started"]);
  assert.deepEqual(counts, sequences.map(({ tokens }) => tokens.length));
});

Deno.test("A run is read by many: loops from the beginning, its result and its text", async () => {
  await using engine = await open();
  const run = engine.generate(greedy(5, { n: 2, logprobs: 2 }));
  const early = collect(run);
  const { sequences, promptTokens } = await run.result();
  const late = await collect(run);
  assert.deepEqual(late, sequences);
  assert.equal(await run.text(), sequences[0]!.text);
  assert.equal(promptTokens.length, 5);
  for (const { index, text, tokens, logprobs, finishReason } of sequences) {
    const chunks = (await early).filter((chunk) => chunk.index === index);
    assert.equal(chunks.map((chunk) => chunk.text).join(""), text);
    assert.deepEqual(chunks.flatMap((chunk) => chunk.tokens), tokens);
    assert.deepEqual(chunks.flatMap((chunk) => [...chunk.logprobs ?? []]), [...logprobs ?? []]);
    assert.equal(chunks.at(-1)?.finishReason, finishReason);
  }
});

Deno.test("A loop that is left does not end what another reads or awaits", async () => {
  await using engine = await openLong();
  const run = engine.generate(greedy(5, { maxTokens: 40 }));
  const whole = run.result();
  for await (const _ of run) break;
  assert.equal((await whole).sequences[0]!.finishReason, "length");
  assert.equal(engine.stats().numFinished.cancelled, 0);
});

Deno.test("A deadline ends the stream with its reason", async () => {
  await using engine = await openLong();
  const chunks = await collect(engine.generate(greedy(5, { ...long, deadlineMs: 5 })));
  assert.equal(chunks.at(-1)?.finishReason, "deadline");
  assert.equal(engine.stats().numFinished.deadline, long.n);
});

Deno.test("Invalid fields throw at once", async () => {
  await using engine = await open();
  assert.throws(() => engine.generate(greedy(5, { temperature: NaN })), {
    code: "invalid_argument",
    field: "temperature",
  });
});

Deno.test("A request whose observer throws ends in the library too", async () => {
  await using engine = await openLong();
  const observer = {
    queued() {
      throw new Error("no room in my list");
    },
  };
  const run = engine.generate(greedy(5, long), observer);
  await assert.rejects(run.accepted, /no room in my list/);
  await assert.rejects(run.result(), /no room in my list/);
  await idle(engine);
  const { cancelled, length } = engine.stats().numFinished;
  assert.deepEqual({ cancelled, length }, { cancelled: long.n, length: 0 });
});

Deno.test("A prompt that is too long rejects with both numbers, from accepted and the loop", async () => {
  await using engine = await open();
  for (const length of [256, 300]) {
    const generation = engine.generate(greedy(length));
    const expected = { code: "context_length_exceeded", message: new RegExp(`256.*${length}`) };
    await assert.rejects(generation.accepted, expected);
    await assert.rejects(collect(generation), expected);
  }
  await engine.generate(greedy(255, { maxTokens: 1 })).accepted;
});

Deno.test("A deadline ends a request whose text waits for the encoder", async () => {
  allowLongTurns(STARTS_WORKER);
  // Long enough for the worker, which has to start first.
  const request = { prompt: "the ".repeat(1100), maxTokens: 4, ignoreEos: true };
  let numUnsent = 0;
  for (let tries = 0; numUnsent === 0 && tries < 10; tries++) { // it may be as fast on a busy machine
    await using engine = await openLong();
    const chunks = await collect(engine.generate({ ...request, deadlineMs: 1, n: 2 }));
    assert.deepEqual(chunks.map(({ finishReason }) => finishReason), ["deadline", "deadline"]);
    numUnsent += 1 - engine.stats().numRequestsSubmitted;
  }
  assert.equal(numUnsent, 1);
  await using engine = await openLong();
  const longest = engine.generate({ ...request, deadlineMs: 0xffff_ffff });
  assert.equal((await collect(longest)).at(-1)?.finishReason, "length");
});

Deno.test("A reader who comes late gets a chunk a sequence, with all that it holds", async () => {
  await using engine = await open();
  const request = greedy(5, { n: 4, maxTokens: 40, temperature: 1, seed: 3, logprobs: 2 });
  const late = engine.generate(request);
  await late.accepted;
  await idle(engine);
  await engine.stop(); // resolves behind the last event
  const chunks = await collect(late);
  assert.deepEqual(chunks.map(({ index }) => index).sort(), [0, 1, 2, 3]);
  await using another = await open();
  const prompt = await collect(another.generate(request));
  for (const { index, text, tokens, logprobs, finishReason } of chunks) {
    const own = prompt.filter((chunk) => chunk.index === index);
    assert.equal(text, own.map((chunk) => chunk.text).join(""));
    assert.deepEqual(tokens, own.flatMap((chunk) => chunk.tokens));
    assert.deepEqual([...logprobs ?? []], own.flatMap((chunk) => [...chunk.logprobs ?? []]));
    assert.equal(finishReason, "length");
  }
});

Deno.test("A full queue rejects and says when to come back", async () => {
  await using engine = await open({ maxNumSeqs: 1, maxQueuedRequests: 1 });
  const generations = Array.from({ length: 8 }, () => engine.generate(greedy(5)));
  const outcomes = await Promise.allSettled(generations.map((it) => it.accepted));
  const refused = outcomes.filter((it) => it.status === "rejected").map((it) => it.reason);
  assert.ok(refused.length > 0 && refused.length < 8);
  for (const { code, retryAfterMs } of refused) {
    assert.equal(code, "queue_full");
    assert.ok(retryAfterMs >= 0);
  }
  const served = generations.filter((_, i) => outcomes[i]!.status === "fulfilled");
  for (const chunks of await Promise.all(served.map(collect))) {
    assert.equal(chunks.at(-1)?.finishReason, "length");
  }
});

Deno.test("Messages without a chat template are refused", async () => {
  const model = { ...await loadModel(tiny), chatTemplate: undefined };
  await using engine = await Engine.open(model, onTestDevice);
  const messages = [{ role: "user", content: "Hello" }];
  assert.throws(() => engine.generate({ messages }), {
    code: "invalid_argument",
    field: "messages",
    message: /carries no chat template/,
  });
});

Deno.test("A chat template's refusal reaches the caller", async () => {
  const render = () => {
    throw new Error("roles must alternate");
  };
  const chatTemplate = { render, reasoning: undefined, takesParts: false };
  const model = { ...await loadModel(tiny), chatTemplate };
  await using engine = await Engine.open(model, onTestDevice);
  assert.throws(() => engine.generate({ messages: [{ role: "user", content: "Hello" }] }), {
    field: "messages",
    message: /roles must alternate/,
  });
});

Deno.test("Engine.open() returns before the weights are loaded when asked to", async () => {
  await using engine = await open({ waitUntilReady: false });
  assert.ok(engine.maxModelLen > 0);
  await engine.ready;
  assert.equal(engine.stats().state, "ready");
  assert.equal(engine.stats().bytesLoaded, engine.stats().bytesTotal);
});

Deno.test("An engine may be closed while it loads", async () => {
  const engine = await open({ waitUntilReady: false });
  const ready = engine.ready.then(() => "ready", (error) => error.code);
  await engine.close();
  assert.ok(["ready", "closing"].includes(await ready));
});

Deno.test("Engine.open() refuses options out of range, and names them", async () => {
  await assert.rejects(open({ blockSize: 17 }), { code: "invalid_argument", field: "blockSize" });
  await assert.rejects(open({ device: "cuda:99" }), { code: "unsupported" });
});

Deno.test("Engine.open() refuses weights that are cut short", async () => {
  const model = await loadModel(tiny);
  const path = await Deno.makeTempFile();
  try {
    const bytes = await Deno.readFile(model.files[0]!);
    await Deno.writeFile(path, bytes.subarray(0, bytes.length - 100));
    await assert.rejects(
      Engine.open({ ...model, files: [path] }, onTestDevice),
      (error: { code: string }) => {
        assert.match(error.code, /^(invalid_argument|io_error)$/);
        return true;
      },
    );
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("Engine.open() frees what it opened where the weights cannot be loaded", async () => {
  const { poll, close } = NativeEngine.prototype;
  let numClosed = 0;
  NativeEngine.prototype.poll = () => Promise.reject(new EngineError("io_error", "torn"));
  NativeEngine.prototype.close = function () {
    numClosed++;
    close.call(this);
  };
  try {
    await assert.rejects(open(), { code: "io_error", message: "torn" });
    assert.equal(numClosed, 1);
  } finally {
    Object.assign(NativeEngine.prototype, { poll, close });
  }
});

Deno.test("stop() drains: running requests finish, new ones are refused", async () => {
  await using engine = await openLong();
  const running = collect(engine.generate(greedy(5, { maxTokens: 600 })));
  const stopped = engine.stop({ drain: true });
  await assert.rejects(engine.generate(greedy(5)).accepted, { code: "closing" });
  await stopped;
  assert.equal((await running).at(-1)?.finishReason, "length");
});

Deno.test("stop() without draining cancels what runs, a drain included", async () => {
  await using engine = await openLong();
  const running = collect(engine.generate(greedy(5, long)));
  const drained = engine.stop({ drain: true });
  await engine.stop({ drain: false });
  await drained;
  assert.equal((await running).at(-1)?.finishReason, "cancelled");
});

Deno.test("A closed engine refuses, and closes again without harm", async () => {
  const engine = await open();
  await engine.close();
  await engine.close();
  await assert.rejects(engine.generate(greedy(5)).accepted, { code: "closing" });
  assert.throws(() => engine.stats(), { code: "closing" });
});

Deno.test("An engine works again after it was idle", async () => {
  await using engine = await open();
  for (let i = 0; i < 3; i++) {
    assert.equal((await collect(engine.generate(greedy(5)))).at(-1)?.finishReason, "length");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
});

Deno.test("detokenize() takes back what tokenize() made", async () => {
  await using engine = await open();
  const text = "the quick brown fox jumps";
  const tokens = await engine.tokenize(text, { addSpecialTokens: false });
  assert.equal(engine.detokenize(tokens), text);
  assert.throws(() => engine.detokenize([-1]), { code: "invalid_argument", field: "tokens" });
});

Deno.test("describe() names device and kernels", async () => {
  await using engine = await open();
  const cuda = onTestDevice.device.startsWith("cuda");
  assert.match(engine.describe(), cuda ? /^device: cuda:\d+ /m : /^device: cpu$/m);
});

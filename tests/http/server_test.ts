import { allowLongTurns, LOADS_METRICS } from "../event_loop_guard.ts";
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { FakeTime } from "./fake_time.ts";
import { accessLog } from "../../functions/server/access_log.ts";
import { createApp } from "../../functions/app.ts";
import { Instance } from "../../functions/server/instance.ts";
import { standardError, standardOutput } from "../../functions/server/standard_output.ts";
import { EngineError } from "../../engine/types.ts";
import { FakeEngine } from "./fake_engine.ts";
import { eventsOf, fakeHarness, Harness, linesTo, settled } from "./harness.ts";

const CHAT = "/v1/chat/completions";
const chat = { messages: [{ role: "user", content: "Hello" }], max_tokens: 4 };

Deno.test("authentication guards every route but probes and the API's description", async () => {
  await using harness = fakeHarness({}, { apiKeys: ["first", "second"] });
  const paths = ["/v1/models", "/version", "/metrics", "/nowhere"];
  for (const path of paths) {
    for (
      const [headers, code] of [
        [{}, "missing_api_key"],
        [{ authorization: "Bearer wrong" }, "invalid_api_key"],
        [{ authorization: "Bearer firs" }, "invalid_api_key"],
        [{ authorization: "Basic first" }, "missing_api_key"],
      ] as const
    ) {
      const response = await harness.get(path, headers);
      const { error } = await response.json();
      assert.equal(response.status, 401, path);
      assert.equal(response.headers.get("www-authenticate"), "Bearer");
      assert.deepEqual([error.type, error.code], ["authentication_error", code]);
    }
  }
  const right = [
    { authorization: "Bearer first" },
    { authorization: "bearer second" },
    { "x-api-key": "first" },
    { "api-key": "second" },
  ];
  for (const headers of right) {
    const response = await harness.get("/v1/models", headers);
    assert.equal(response.status, 200, JSON.stringify(headers));
    await response.body?.cancel();
  }
  assert.equal((await harness.get("/v1/models", { "x-api-key": "wrong" })).status, 401);
  for (const path of ["/health", "/ready", "/docs", "/openapi.json"]) {
    assert.equal((await harness.get(path)).status, 200);
  }
  assert.equal((await harness.get("/")).headers.get("location"), "/docs");
});

Deno.test("authentication answers before a body is read or validated", async () => {
  await using harness = fakeHarness({}, { apiKeys: ["key"], bodyLimitBytes: 10 });
  assert.equal((await harness.post(CHAT, "x".repeat(100))).status, 401);
});

Deno.test("a key has so many requests open at a time, and another key its own", async () => {
  await using harness = fakeHarness({ tokenMs: 5 }, { apiKeys: ["a", "b"], maxRequestsPerKey: 2 });
  const ask = (key: string, stream: boolean) =>
    harness.post(CHAT, { ...chat, stream }, { headers: { authorization: `Bearer ${key}` } });
  const open = await Promise.all([ask("a", true), ask("a", true)]);
  const refused = await ask("a", false);
  assert.deepEqual([refused.status, refused.headers.get("retry-after")], [429, "1"]);
  assert.equal((await refused.json()).error.code, "too_many_requests");
  assert.equal((await ask("b", false)).status, 200);
  await open[0]!.text();
  await open[1]!.body!.cancel();
  await settled(harness.engine);
  assert.equal((await ask("a", false)).status, 200);
});

Deno.test("a key salts warm blocks; sharing across keys is an option", async () => {
  const saltUnder = async (sharePrefixesAcrossKeys: boolean) => {
    await using harness = fakeHarness({}, { apiKeys: ["key"], sharePrefixesAcrossKeys });
    const headers = { authorization: "Bearer key" };
    assert.equal((await harness.post(CHAT, chat, { headers })).status, 200);
    return harness.engine.requests[0]!.salt;
  };
  assert.equal(await saltUnder(false), createHash("sha256").update("key").digest("hex"));
  assert.equal(await saltUnder(true), "");
});

Deno.test("a key has turns of its own and the weight it was given; a body cannot say whose it is", async () => {
  await using harness = fakeHarness({}, { apiKeys: ["a", "b=c"], keyWeights: ["b=c=3"] });
  for (const key of ["a", "b=c"]) {
    const headers = { authorization: `Bearer ${key}` };
    const body = { ...chat, caller: "other", caller_weight: 1000, callerWeight: 1000 };
    await harness.post(CHAT, body, { headers });
    await harness.post(CHAT, chat, { headers });
  }
  const ids = ["a", "b=c"].map((key) =>
    createHash("sha256").update(key).digest("hex").slice(0, 12)
  );
  const found = harness.engine.requests.map(({ caller, callerWeight }) => [caller, callerWeight]);
  for (const [caller, weight] of found) assert.equal(weight, caller === ids[0] ? 1 : 3);
  assert.deepEqual(new Set(found.map(([caller]) => caller)), new Set(ids));
});

Deno.test("a priority below 0 is for servers that allow it", async () => {
  for (const allowNegativePriority of [false, true]) {
    await using harness = fakeHarness({}, { allowNegativePriority });
    for (const path of [CHAT, "/v1/completions", "/generate"]) {
      const body = path === CHAT ? chat : { prompt: "a" };
      const response = await harness.post(path, { ...body, priority: -1 });
      assert.equal(response.status, allowNegativePriority ? 200 : 400, path);
      const text = await response.text();
      if (!allowNegativePriority) {
        assert.match(
          text,
          /priority must be 0 to 1000, as .*--allow-negative-priority.* value is -1/,
        );
      }
      await harness.json(path, { ...body, priority: 1000 });
    }
  }
});

Deno.test("cache_salt narrows who shares warm blocks, within a key", async () => {
  const saltsUnder = async (key: string) => {
    await using harness = fakeHarness({}, { apiKeys: ["one", "two"] });
    const headers = { authorization: `Bearer ${key}` };
    for (const salt of [{}, { cache_salt: "a" }, { cache_salt: "b" }, { cache_salt: null }]) {
      assert.equal((await harness.post(CHAT, { ...chat, ...salt }, { headers })).status, 200);
    }
    return harness.engine.requests.map(({ salt }) => salt);
  };
  const salts = [await saltsUnder("one"), await saltsUnder("two")];
  for (const [plain, a, b, none] of salts) {
    assert.equal(new Set([plain, a, b]).size, 3);
    assert.equal(none, plain);
  }
  assert.notEqual(salts[0]![1], salts[1]![1], "what a caller asks for does not open another's");
  await using harness = fakeHarness();
  const error = await harness.json(CHAT, { ...chat, cache_salt: "" }, 400);
  assert.equal(error.error.param, "cache_salt");
});

Deno.test("the model's sampling holds where a request says nothing, unless --generation-config vllm", async () => {
  const asked = async (generationConfig: "auto" | "vllm", body: object) => {
    const engine = new FakeEngine();
    const model = { ...engine.model, samplingDefaults: { temperature: 0.6, topK: 20 } };
    Object.assign(engine, { model });
    await using harness = new Harness(engine, { generationConfig });
    for (const [path, prompt] of [[CHAT, chat], ["/v1/completions", { prompt: "Hi" }]] as const) {
      await harness.json(path, { ...prompt, max_tokens: 1, ...body });
    }
    const seen = engine.requests.map(({ temperature, topK }) => [temperature, topK]);
    assert.deepEqual(seen[0], seen[1]);
    return seen[0];
  };
  assert.deepEqual(await asked("auto", {}), [0.6, 20]);
  assert.deepEqual(await asked("auto", { temperature: 0, top_k: null }), [0, 20]);
  assert.deepEqual(await asked("auto", { top_k: -1 }), [0.6, 0]);
  assert.deepEqual(await asked("vllm", {}), [undefined, undefined]);
});

Deno.test("allowHosts refuses other names, whatever the route and the port", async () => {
  await using harness = fakeHarness({}, { allowedHosts: ["localhost", "[::1]", "My.name"] });
  for (const host of ["localhost", "localhost:8000", "LOCALHOST", "[::1]:1", "my.name:80"]) {
    assert.equal((await harness.get("/health", { host })).status, 200, host);
  }
  for (const host of ["evil.example", "evil.example:8000", "localhost.evil.example", "[::2]", ""]) {
    allowLongTurns(LOADS_METRICS);
    for (const path of ["/health", "/metrics", "/v1/models", "/nowhere"]) {
      const response = await harness.get(path, { host });
      const { error } = await response.json();
      assert.equal(response.status, 403, `${host} ${path}`);
      assert.equal(error.code, "host_not_allowed");
    }
  }
});

Deno.test("requestId is taken over or made", async () => {
  await using harness = fakeHarness();
  const given = await harness.get("/health", { "x-request-id": "abc-123" });
  assert.equal(given.headers.get("x-request-id"), "abc-123");
  const hostile = await harness.get("/health", { "x-request-id": "a b\u00e9" });
  assert.match(hostile.headers.get("x-request-id")!, /^[0-9a-f-]{36}$/);
});

Deno.test("cors is off unless asked for", async () => {
  const allowed = async (corsOrigins: string[]) => {
    await using harness = fakeHarness({}, { corsOrigins, apiKeys: ["key"] });
    const response = await harness.app.request(CHAT, {
      method: "OPTIONS",
      headers: { origin: "https://app.example", "access-control-request-method": "POST" },
    });
    await response.body?.cancel();
    return response.headers.get("access-control-allow-origin");
  };
  assert.equal(await allowed([]), null);
  assert.equal(await allowed(["https://app.example"]), "https://app.example");
  assert.equal(await allowed(["https://other.example"]), null);
  assert.equal(await allowed(["*"]), "*");
});

Deno.test("bodyLimit holds for a body of unknown length", async () => {
  await using harness = fakeHarness({}, { bodyLimitBytes: 1000 });
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      controller.enqueue(new Uint8Array(300).fill(32));
    },
  });
  const response = await harness.app.request(CHAT, {
    method: "POST",
    headers: { "content-type": "application/json", "transfer-encoding": "chunked" },
    body,
  });
  assert.equal(response.status, 413);
  assert.equal((await response.json()).error.code, "body_too_large");
});

Deno.test("a full queue is 429 with Retry-After in whole seconds", async () => {
  await using harness = fakeHarness({ maxRequests: 1, tokenMs: 5 });
  const running = harness.post(CHAT, { ...chat, max_tokens: 10 });
  while (harness.engine.stats().numRequestsSubmitted === 0) await tick();
  const refused = await harness.post(CHAT, chat);
  assert.equal(refused.status, 429);
  assert.equal(refused.headers.get("retry-after"), "3");
  const { error } = await refused.json();
  assert.deepEqual([error.type, error.code], ["rate_limit_error", "queue_full"]);
  assert.equal((await running).status, 200);
});

Deno.test("a deadline that cannot be met is 503, not to be tried again", async () => {
  await using harness = fakeHarness();
  harness.engine.generate = () => {
    const broken = { field: "deadlineMs", rule: "be >= 700, by measured steps", value: "5" };
    throw new EngineError("deadline", "Cannot submit request", broken);
  };
  const refused = await harness.post(CHAT, { ...chat, deadline_ms: 5 });
  assert.deepEqual([refused.status, refused.headers.get("x-should-retry")], [503, "false"]);
  const { error } = await refused.json();
  assert.match(error.message, /deadline_ms must be >= 700, by measured steps: current value is 5/);
});

Deno.test("when one of several prompts is refused none of them runs on", async () => {
  await using harness = fakeHarness({ maxRequests: 2 });
  const body = { prompt: ["a", "b", "c"], max_tokens: 500 };
  assert.equal((await harness.post("/v1/completions", body)).status, 429);
  assert.equal(harness.engine.stats().kvBlocks.held, 0);
});

Deno.test("behind a prompt that is refused no other is submitted", async () => {
  await using harness = fakeHarness();
  const long = "x".repeat(3000);
  for (const prompt of [[long, "b", "c"], ["a", long, "c"]]) {
    harness.engine.requests.length = 0;
    const response = await harness.post("/v1/completions", { prompt, max_tokens: 500 });
    const { error } = await response.json();
    const at = prompt.indexOf(long);
    assert.deepEqual([error.code, error.param], ["context_length_exceeded", `prompt[${at}]`]);
    assert.equal(harness.engine.requests.length, at + 1, "it and those before it");
    assert.equal(harness.engine.stats().kvBlocks.held, 0);
  }
});

Deno.test("routes that need the model are 503 with progress until it is there", async () => {
  const instance = new Instance({ accessLog: "off" });
  const app = createApp(instance);
  const ask = async (path: string, body?: object) => {
    const response = await app.request(path, {
      ...(body && { method: "POST", body: JSON.stringify(body) }),
      headers: { "content-type": "application/json" },
    });
    const answer = await response.json();
    return { ...answer, status: response.status, retry: response.headers.get("retry-after") };
  };

  instance.model.opening = { phase: "fetching", done: 25, total: 100 };
  assert.deepEqual(await ask("/ready"), {
    status: 503,
    retry: "1",
    state: "fetching",
    progress: 0.25,
  });
  for (const path of [CHAT, "/v1/completions", "/generate", "/tokenize", "/detokenize"]) {
    const { status, retry, error } = await ask(path, {});
    assert.deepEqual([status, retry, error.code], [503, "1", "not_ready"]);
    assert.match(error.message, /fetching is 25 % done/);
  }
  assert.equal((await ask("/health")).status, 200);
  assert.equal((await ask("/version")).engine, null);
  allowLongTurns(LOADS_METRICS);
  assert.equal((await app.request("/metrics")).status, 200);

  const engine = new FakeEngine({ state: "loading" });
  engine.bytesLoaded = 600;
  instance.model.engine = engine;
  assert.deepEqual(await ask("/ready"), {
    status: 503,
    retry: "1",
    state: "loading",
    progress: 0.6,
  });
  assert.match((await ask(CHAT, chat)).error.message, /loading is 60 % done/);
  assert.equal((await ask("/tokenize", { prompt: "x" })).status, 200, "the tokenizer is there");

  engine.state = "ready";
  assert.equal((await ask(CHAT, chat)).status, 200);

  // The device is lost: it is said at once and for good, the tokenizer goes with the engine.
  engine.state = "failed";
  engine.failure = new EngineError("device_lost", "Cannot run a step: the device is gone");
  assert.deepEqual(await ask("/ready"), {
    status: 503,
    retry: null,
    state: "failed",
    progress: 0,
    reason: "Cannot run a step: the device is gone",
  });
  for (const path of [CHAT, "/tokenize"]) {
    const { status, retry, error } = await ask(path, path === CHAT ? chat : { prompt: "x" });
    assert.deepEqual([status, retry, error.code], [503, null, "engine_failed"]);
    assert.match(error.message, /the device is gone/);
  }
  assert.match(await (await app.request("/metrics")).text(), /^hearth_ready 0$/m);
  assert.equal((await ask("/health")).status, 200, "the process lives");
  engine.failure = new EngineError("internal", "Cannot read /home/somebody/model: a defect");
  assert.equal((await ask("/ready")).reason, "the log of the server has more");
  engine.state = "ready";

  instance.drain();
  assert.equal((await ask("/ready")).state, "closing");
  const closing = await ask(CHAT, chat);
  assert.deepEqual([closing.status, closing.error.code], [503, "closing"]);
  assert.equal((await ask("/health")).status, 200);

  instance.model.failure = "There is no model";
  assert.deepEqual(await ask("/ready"), {
    status: 503,
    retry: null,
    state: "failed",
    progress: 0,
    reason: "There is no model",
  });
  assert.deepEqual((await ask(CHAT, chat)).error.message, "There is no model");
});

Deno.test("what the engine says of files and internals is for the log alone", async () => {
  for (const code of ["internal", "io_error"] as const) {
    await using harness = fakeHarness();
    harness.engine.generate = () => {
      throw new EngineError(code, "Cannot read /home/me/model.gguf", { field: "tokens" });
    };
    const log = await linesTo(standardError, async () => {
      const { error } = await harness.json(CHAT, chat, 500);
      assert.equal(error.code, "internal_error");
      assert.ok(!JSON.stringify(error).includes("model.gguf"), error.message);
    });
    assert.match(log.join("\n"), /model\.gguf/);
  }
});

Deno.test("metrics count the time in the queue of each generation", async () => {
  await using harness = fakeHarness();
  await harness.json("/v1/completions", { prompt: ["a", "b"], max_tokens: 2 });
  allowLongTurns(LOADS_METRICS);
  const text = await (await harness.get("/metrics")).text();
  assert.match(text, /^hearth_request_queue_time_seconds_count 2$/m);
  assert.match(text, /^hearth_request_queue_time_seconds_sum 0\.006$/m);
});

Deno.test("a caller who leaves a whole answer is 499 in the log, and nothing else", async () => {
  const left = new AbortController();
  await using harness = fakeHarness({ tokenMs: 5 }, { accessLog: "json" });
  let log: string[] = [];
  const errors = await linesTo(standardError, async () => {
    log = await linesTo(standardOutput, async (lines) => {
      const body = { ...chat, max_tokens: 500 };
      const answer = await harness.post(CHAT, body, { signal: left.signal });
      left.abort();
      await assert.rejects(Promise.race([answer.text(), failAfter(500)]));
      while (lines.length === 0) await tick();
    });
  });
  assert.deepEqual(errors, []);
  assert.equal(JSON.parse(log[0]!).status, 499);
});

Deno.test("a caller who leaves while a text waits to be tokenized takes it along", async () => {
  await using harness = fakeHarness();
  harness.engine.tokenize = (_text, { signal } = {}) =>
    new Promise((_, reject) => {
      signal!.addEventListener("abort", () => reject(signal!.reason));
      left.abort();
    });
  const left = new AbortController();
  const answer = await harness.post("/tokenize", { prompt: "x" }, { signal: left.signal });
  assert.equal(answer.status, 499);
});

Deno.test("a caller who leaves a whole answer's body is 499 too, and its request ends", async () => {
  await using harness = fakeHarness({ tokenMs: 5 }, { accessLog: "json" });
  const log = await linesTo(standardOutput, async (lines) => {
    const answer = await harness.post(CHAT, { ...chat, max_tokens: 500 });
    await answer.body!.cancel();
    while (lines.length === 0) await tick();
  });
  assert.equal(JSON.parse(log[0]!).status, 499);
});

Deno.test("a whole answer that is cut after its head breaks off and is 503 in the log", async () => {
  await using harness = fakeHarness({ tokenMs: 5 }, { accessLog: "json" });
  const log = await linesTo(standardOutput, async (lines) => {
    const answer = await harness.post(CHAT, { ...chat, max_tokens: 500 });
    await harness.engine.stop();
    const error = await answer.text().then(() => undefined, (error) => error);
    while (lines.length === 0) await tick();
    assert.equal(error.stack, undefined);
    assert.match(error.message, /shutting down/);
  });
  assert.equal(JSON.parse(log[0]!).status, 503);
});

Deno.test("an error on the way is a stream's last event, with a code", async () => {
  await using harness = fakeHarness({ failAfter: 3 });
  for (
    const [path, body] of [[CHAT, chat], ["/v1/completions", { prompt: "a" }], ["/generate", {
      prompt: "a",
    }]] as const
  ) {
    const response = await harness.post(path, { ...body, stream: true, max_tokens: 9 });
    assert.equal(response.status, 200);
    const events = eventsOf(await response.text());
    assert.deepEqual(Object.keys(events.at(-1)), ["error"]);
    assert.equal(events.at(-1).error.code, "internal_error");
    assert.equal((await harness.post(path, { ...body, max_tokens: 9 })).status, 500);
  }
});

Deno.test("requests that a lost device ends are told so", async () => {
  const failure = new EngineError("device_lost", "Cannot run a step: the device is gone");
  await using harness = fakeHarness({ failAfter: 3, failure });
  const body = { ...chat, max_tokens: 9 };
  const events = eventsOf(await (await harness.post(CHAT, { ...body, stream: true })).text());
  const answer = await harness.post(CHAT, body);
  assert.equal(answer.status, 503);
  for (const { error } of [events.at(-1), await answer.json()]) {
    const { message, type, code } = error;
    assert.deepEqual([message, type, code], [failure.message, "server_error", "device_lost"]);
  }
});

Deno.test("detokenize keeps control tokens", async () => {
  await using harness = fakeHarness();
  const { prompt } = await harness.json("/detokenize", { tokens: [256, 65, 257] });
  assert.equal(prompt, "<s>A</s>");
});

Deno.test("log probabilities of the prompt come only when asked for", async () => {
  await using harness = fakeHarness();
  const body = { prompt: "ab", max_tokens: 1, echo: true, logprobs: 1 };
  const without = await harness.json("/v1/completions", body);
  assert.ok(!("prompt_logprobs" in without.choices[0]));
  const asked = await harness.json("/v1/completions", { ...body, prompt_logprobs: 1 });
  assert.equal(asked.choices[0].prompt_logprobs.length, 3);
});

Deno.test("fields that are not served may say what holds anyhow", async () => {
  await using harness = fakeHarness();
  await harness.json(CHAT, {
    ...chat,
    bad_words: [],
    best_of: null,
    use_beam_search: false,
    length_penalty: 1,
    documents: [],
    response_format: { type: "text" },
  });
});

Deno.test("streams may not be buffered or changed on their way", async () => {
  await using harness = fakeHarness();
  const response = await harness.post(CHAT, { ...chat, stream: true });
  assert.equal(response.headers.get("cache-control"), "no-cache, no-transform");
  assert.equal(response.headers.get("x-accel-buffering"), "no");
  await response.text();
});

Deno.test("a character is never cut between two chunks of a stream", async () => {
  await using harness = fakeHarness();
  const events = await harness.events("/v1/completions", { prompt: "a", max_tokens: 60 });
  const texts = events.slice(0, -1).map(({ choices }) => choices[0].text);
  assert.ok(texts.includes("ü") && texts.includes("🔥"), texts.join("|"));
});

Deno.test("the server's name for the model goes before its own", async () => {
  await using harness = fakeHarness({}, { servedModelNames: ["org/main", "alias"] });
  for (const model of ["org/main", "alias", undefined]) {
    assert.equal((await harness.json(CHAT, { ...chat, model })).model, model ?? "org/main");
  }
  await harness.json(CHAT, { ...chat, model: "fake" }, 404);
  assert.equal((await harness.get("/v1/models/org/main")).status, 200);
  assert.equal((await harness.get("/v1/models/org%2Fmain")).status, 200);
});

Deno.test("accessLog writes a line when the answer has left", async () => {
  await linesTo(standardOutput, async (lines) => {
    await using harness = fakeHarness({ tokenMs: 1 }, { accessLog: "json" });
    const stream = await harness.post(CHAT, { ...chat, stream: true }, {
      headers: { "x-request-id": "one" },
    });
    assert.equal(lines.length, 0, "the stream runs");
    await stream.text();
    while (lines.length === 0) await tick();
    const line = JSON.parse(lines[0]!);
    assert.deepEqual(
      [line.method, line.path, line.status, line.output_tokens, line.request_id],
      ["POST", CHAT, 200, 4, "one"],
    );
    assert.ok(line.ttft_ms > 0 && line.ttft_ms <= line.ms);

    const left = await harness.post(CHAT, { ...chat, max_tokens: 500, stream: true });
    await left.body!.cancel();
    while (lines.length === 1) await tick();
    assert.equal(JSON.parse(lines[1]!).status, 499);
  });
  assert.equal(accessLog({ format: "text" }).name, "accessLog");
});

Deno.test("openapi describes every route", async () => {
  await using harness = fakeHarness();
  const document = await (await harness.get("/openapi.json")).json();
  assert.equal(document.openapi, "3.1.0");
  const paths = Object.keys(document.paths).sort();
  assert.deepEqual(paths, [
    "/detokenize",
    "/generate",
    "/health",
    "/metrics",
    "/ready",
    "/tokenize",
    "/tokenizer_info",
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/models",
    "/v1/models/{model}",
    "/version",
  ]);
  const { temperature } = document.components.schemas.ChatCompletionRequest.properties;
  assert.deepEqual([temperature.minimum, temperature.maximum], [0, 2]);
  const { responses } = document.paths["/v1/chat/completions"].post;
  assert.deepEqual(Object.keys(responses), [
    "200",
    "400",
    "401",
    "404",
    "413",
    "415",
    "429",
    "503",
  ]);
  assert.deepEqual(Object.keys(responses["200"].content), [
    "application/json",
    "text/event-stream",
  ]);
  assert.ok(document.components.schemas.Error.properties.error);
  const page = await (await harness.get("/docs")).text();
  assert.match(page, /openapi\.json/);
  assert.match(page, /POST \/v1\/chat\/completions/);
  assert.ok(!page.includes("<script"), "no script from elsewhere");
});

function failAfter(ms: number): Promise<never> {
  return new Promise((_, reject) => setTimeout(() => reject(new Error("too long")), ms));
}

function tick(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1));
}

Deno.test("accessLog leaves out probes that find all well, unless asked for them", async () => {
  const written = await linesTo(standardOutput, async () => {
    for (const logProbes of [false, true]) {
      await using harness = fakeHarness({}, { accessLog: "text", logProbes });
      await (await harness.get("/health")).text();
      await (await harness.get("/ready")).text();
      harness.instance.drain();
      await (await harness.get("/ready")).text();
    }
  });
  const seen = written.map((line) => line.split(" ").slice(1, 4).join(" "));
  assert.deepEqual(seen, [
    "GET /ready 503",
    "GET /health 200",
    "GET /ready 200",
    "GET /ready 503",
  ]);
});

Deno.test("accessLog tells every field of a request, in JSON or in a line", async () => {
  using clock = new FakeTime();
  const written = await linesTo(standardOutput, async (lines) => {
    for (const accessLog of ["json", "text", "off"] as const) {
      await using harness = fakeHarness({}, { accessLog, apiKeys: ["key"] });
      const generate = harness.engine.generate.bind(harness.engine);
      harness.engine.generate = (request, observer) => {
        const tokens = observer?.tokens;
        clock.now += 1.26;
        return generate(request, {
          ...observer,
          tokens: (index, count) => {
            tokens?.(index, count);
            clock.now += 0.5;
          },
        });
      };
      const headers = { authorization: "Bearer key", "x-request-id": "r1" };
      const count = lines.length;
      await (await harness.post("/generate", { tokens: [1, 2, 3], max_tokens: 2 }, { headers }))
        .text();
      await (await harness.get("/nowhere", { ...headers, authorization: "" })).text();
      while (accessLog !== "off" && lines.length < count + 2) await tick();
    }
  });
  const [json, refused, text, refusedText, ...rest] = written;
  const caller = createHash("sha256").update("key").digest("hex").slice(0, 12);
  const { time, ...fields } = JSON.parse(json!);
  assert.ok(Math.abs(Date.parse(time) - Date.now()) < 60_000);
  assert.deepEqual(Object.entries(fields), [
    ["method", "POST"],
    ["path", "/generate"],
    ["status", 200],
    ["ms", 2.3],
    ["ttft_ms", 1.3],
    ["prompt_tokens", 3],
    ["cached_tokens", 0],
    ["output_tokens", 2],
    ["caller", caller],
    ["request_id", "r1"],
  ]);
  const { time: _, ...fieldsOfRefused } = JSON.parse(refused!);
  assert.deepEqual(fieldsOfRefused, {
    method: "GET",
    path: "/nowhere",
    status: 401,
    ms: 0,
    request_id: "r1",
  });
  const [day, ...words] = text!.split(" ");
  assert.match(day!, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.equal(
    words.join(" "),
    "POST /generate 200 ms=2.3 ttft_ms=1.3 prompt_tokens=3 cached_tokens=0 output_tokens=2 " +
      `caller=${caller} request_id=r1`,
  );
  assert.match(refusedText!, /^\S+ GET \/nowhere 401 ms=0 request_id=r1$/);
  assert.deepEqual(rest, []);
});

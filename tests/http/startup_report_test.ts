import assert from "node:assert/strict";
import { hostsOf, isLoopback } from "../../functions/server/allowed_hosts.ts";
import { Instance } from "../../functions/server/instance.ts";
import { Models, ServedModel } from "../../functions/server/served_model.ts";
import { standardOutput } from "../../functions/server/standard_output.ts";
import {
  addressOf,
  reasonOf,
  showProgress,
  showReady,
} from "../../functions/server/startup_report.ts";
import { FakeEngine } from "./fake_engine.ts";
import { FakeTime } from "./fake_time.ts";
import { linesTo } from "./harness.ts";

Deno.test("showReady() tells address, model, device, memory, times and a first request", async () => {
  const report = async (options: ConstructorParameters<typeof Instance>[0], sampling = {}) => {
    const instance = new Instance(options);
    const engine = new FakeEngine();
    const stats = engine.stats();
    engine.stats = () => ({
      ...stats,
      loadSeconds: 1.234,
      weightsBytes: 98_400_000,
      kvBytes: 1_500_000,
      workspaceBytes: 2_499_999,
    });
    Object.assign(engine.model, { samplingDefaults: sampling });
    instance.model.engine = engine;
    const [text] = await linesTo(standardOutput, () => {
      showReady(instance, "http://a:1", 2345);
      return Promise.resolve();
    });
    return text!.split("\n");
  };
  const body = '{"model":"fake","messages":[{"role":"user","content":"What is gravity?"}],' +
    '"temperature":0}';
  const plain = [
    "ready after 2.35 s (weights 1.23 s)",
    "  model: fake (fake)",
    "  device: none",
    "  kernels: none",
    "  memory: weights 98 MB, KV cache 2 MB (1600 tokens), workspace 2 MB",
    "  address: http://a:1",
    "",
    "curl http://a:1/v1/chat/completions -H 'content-type: application/json' \\",
    `  -d '${body}'`,
  ];
  assert.deepEqual(await report({}), plain);
  const [ready, model, ...rest] = plain;
  const sampling = { temperature: 0.5, topK: 40 };
  const line = "  sampling: temperature 0.5, topK 40";
  assert.deepEqual(await report({}, sampling), [ready, model, line, ...rest]);
  assert.deepEqual(await report({ generationConfig: "vllm" }, sampling), plain);
  const keyed = await report({ apiKeys: ["secret"], servedModelNames: ["a", "b"] });
  assert.equal(keyed[1], "  model: a (fake)");
  assert.equal(
    keyed[7],
    "curl http://a:1/v1/chat/completions -H 'authorization: Bearer KEY' " +
      "-H 'content-type: application/json' \\",
  );
  assert.match(keyed[8]!, /"model":"a"/);
});

Deno.test("showProgress() tells each step once, and goes on telling of one that lasts", async () => {
  using clock = new FakeTime();
  const { setInterval } = globalThis;
  let look = () => {};
  globalThis.setInterval = ((callback: () => void, ms: number) => {
    look = callback;
    return setInterval(() => {}, ms);
  }) as typeof setInterval;
  try {
    const instance = new Instance();
    const written = await linesTo(standardOutput, () => {
      const { model } = instance;
      const progress = showProgress(instance, 2000);
      const after = (ms: number) => {
        clock.now += ms;
        look();
      };
      after(5000); // starting is not worth a line
      model.opening = { phase: "fetching", what: "a file", done: 0, total: 0 };
      after(200);
      after(1999);
      model.opening = { phase: "fetching", what: "a file", done: 5_550_000, total: 9_999_999 };
      after(1);
      model.opening = { phase: "fetching", done: 5_550_000, total: 10_000_000 };
      after(10);
      model.opening = { phase: "reading", done: 0, total: 0 };
      after(10);
      const engine = new FakeEngine({ state: "loading" });
      model.engine = engine;
      engine.bytesLoaded = 129;
      after(10);
      engine.state = "ready";
      after(3000);
      progress.stop();
      return Promise.resolve();
    });
    assert.deepEqual(written, [
      "fetching a file",
      "fetching a file 55 % of 10 MB",
      "fetching the model 55 % of 10 MB",
      "reading the model",
      "loading the model 12 %",
    ]);
  } finally {
    globalThis.setInterval = setInterval;
  }
});

Deno.test("addressOf() puts IPv6 into brackets, reasonOf() names what is not allowed", () => {
  assert.equal(addressOf("127.0.0.1", 80), "http://127.0.0.1:80");
  assert.equal(addressOf("::1", 80), "http://[::1]:80");
  assert.equal(reasonOf(new Error("no")), "no");
  assert.equal(
    reasonOf(new Deno.errors.NotCapable("no ffi")),
    "Cannot open engine: no ffi (the serve task in deno.json names what it allows)",
  );
});

Deno.test("isLoopback() knows this machine's own addresses, and no others", () => {
  const own = ["localhost", "LocalHost", "127.0.0.1", "127.255.1.20", "::1", "0:0:0:0:0:0:0:1"]
    .concat("0000:0000:0000:0000:0000:0000:0000:0001");
  const others = ["0.0.0.0", "::", "128.0.0.1", "127.0.0", "127.0.0.1.a", "a.localhost", "::11"]
    .concat("", "1127.0.0.1", "localhost.a", "127.0.0.1000");
  assert.deepEqual(own.filter((host) => !isLoopback(host)), []);
  assert.deepEqual(others.filter(isLoopback), []);
  const none = { apiKeys: [], allowedHosts: [] };
  assert.deepEqual(hostsOf("::1", none), ["localhost", "127.0.0.1", "[::1]"]);
  assert.deepEqual(hostsOf("127.0.0.2", none).at(-1), "127.0.0.2");
});

Deno.test("ServedModel tells how far it is, by its opening, its engine and its end", () => {
  const model = new ServedModel([]);
  const ready = () => model.readiness();
  assert.deepEqual(ready(), { state: "starting", progress: 0 });
  for (const [done, total, progress] of [[1, 4, 0.25], [5, 4, 1], [5, 0, 0]] as const) {
    model.opening = { phase: "fetching", done, total };
    assert.deepEqual(ready(), { state: "fetching", progress });
  }
  model.opening = { phase: "reading", done: 0, total: 0 };
  assert.deepEqual(ready(), { state: "reading", progress: 0 });
  const engine = new FakeEngine({ state: "loading" });
  engine.bytesLoaded = 600;
  model.engine = engine;
  assert.deepEqual(ready(), { state: "loading", progress: 0.6 });
  engine.state = "ready";
  assert.deepEqual(ready(), { state: "ready", progress: 1 });
  engine.state = "closed";
  assert.deepEqual(ready(), { state: "closing", progress: 0 });
  engine.state = "failed";
  const reason = "the log of the server has more";
  assert.deepEqual(ready(), { state: "failed", progress: 0, reason });
  assert.throws(() => model.require("read"), {
    status: 503,
    code: "engine_failed",
    message: `The engine has failed: ${reason}`,
  });
  model.closing = true;
  assert.deepEqual(ready(), { state: "closing", progress: 1 });
  assert.throws(() => model.require("read"), {
    code: "closing",
    message: "The server is shutting down and takes no new requests",
  });
  model.failure = "Gone";
  assert.deepEqual(ready(), { state: "failed", progress: 0, reason: "Gone" });
  assert.throws(() => model.require("read"), {
    status: 500,
    code: "internal_error",
    message: "Gone",
  });
});

Deno.test("Models finds a model by its names, the first where none is named", () => {
  const [one, two] = [new ServedModel(["a", "b"]), new ServedModel(["c"])];
  const models = new Models([one, two]);
  assert.deepEqual([...models], [one, two]);
  assert.deepEqual(models.resolve(undefined), { name: "a", model: one });
  assert.deepEqual(models.resolve(null), { name: "a", model: one });
  assert.deepEqual(models.resolve("b"), { name: "b", model: one });
  assert.deepEqual(models.resolve("c"), { name: "c", model: two });
  const notReady = {
    code: "not_ready",
    message: "The model is not ready yet: starting is 0 % done",
    retryAfterMs: 1000,
  };
  assert.throws(() => models.resolve("d"), notReady, "it may still get that name");
  assert.throws(() => new Models([new ServedModel([])]).resolve(undefined), notReady);
  assert.throws(() => models.requireAny("read"), notReady);
  two.engine = new FakeEngine({ state: "loading" });
  models.requireAny("read");
  assert.throws(() => models.requireAny("ready"), notReady, "what the first says");
  one.engine = new FakeEngine();
  models.requireAny("ready");
  assert.throws(() => models.resolve("d".repeat(300)), {
    status: 404,
    code: "model_not_found",
    param: "model",
    message: `Cannot find model "${"d".repeat(200)}": served is a, b, c`,
  });
});

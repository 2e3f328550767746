import assert from "node:assert/strict";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { z } from "@hono/zod-openapi";
import type { Dialect } from "../../functions/dialects/dialect.ts";
import { baseApp, errorShapes } from "../../functions/server/base_app.ts";
import { generateFunction } from "../../functions/server/generate_function.ts";
import { listen } from "../../functions/server/http_server.ts";
import { Instance, type InstanceOptions } from "../../functions/server/instance.ts";
import { FakeEngine, type FakeEngineOptions } from "./fake_engine.ts";

const Shout = z.strictObject({
  model: z.string().optional(),
  say: z.string().min(1),
  stream: z.boolean().optional(),
});

const ShoutError = z.strictObject({
  type: z.literal("error"),
  kind: z.strictObject({ status: z.int(), code: z.string(), param: z.string().nullable() }),
}).openapi("ShoutError");

/** An API like no other here: names of its own, named events, an error object of its own. */
const shouting: Dialect<z.infer<typeof Shout>> = {
  operationId: "shout",
  summary: "Shout",
  routes: ["/shout"],
  schema: Shout,
  answer: { description: "It, shouted", schema: z.object({ shouted: z.string() }) },
  toRequests: ({ say }) => [{ prompt: say, maxTokens: 12 }],
  names: () => ({ prompt: "say" }),
  writer: () => ({
    whole: (results) => ({ shouted: results[0]!.sequences[0]!.text.toUpperCase() }),
    begin: () => [{ type: "start" }],
    chunk: (_run, chunk) => [{ type: "piece", text: chunk.text.toUpperCase() }],
    end: () => [{ type: "stop" }],
  }),
  errorShape: ({ status, code, param }) => ({ type: "error", kind: { status, code, param } }),
  errorSchema: ShoutError,
  sse: { nameOf: (event) => (event as { type: string }).type },
};

function open(engine: FakeEngineOptions = {}, options: Partial<InstanceOptions> = {}) {
  const instance = new Instance({ accessLog: "off", ...options });
  instance.model.engine = new FakeEngine(engine);
  const shout = generateFunction(shouting);
  const app = baseApp(instance, [shout]);
  const ask = (body: unknown, headers: Record<string, string> = {}) =>
    app.request("/shout", {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: typeof body === "string" ? body : JSON.stringify(body),
    });
  return { instance, app, ask, functions: [shout] };
}

Deno.test("a dialect is one object: its answers, its events and its names", async () => {
  const { ask } = open({ answer: "hot stove. " });
  assert.deepEqual(await (await ask({ say: "x" })).json(), { shouted: "HOT STOVE. H" });
  const events = await (await ask({ say: "x", stream: true })).text();
  assert.match(events, /^event: start\ndata: \{"type":"start"\}\n\nevent: piece\ndata: /);
  assert.match(events, /event: stop\ndata: \{"type":"stop"\}\n\n$/);
  assert.ok(!events.includes("[DONE]"));
});

Deno.test("a path's dialect has its form of every error, whoever refuses", async () => {
  const refusal = async (response: Response) => {
    const { kind } = ShoutError.parse(await response.json());
    assert.equal(kind.status, response.status);
    return [kind.status, kind.code, kind.param];
  };
  const one = open({}, { bodyLimitBytes: 5000, allowedHosts: ["localhost"] });
  assert.deepEqual(await refusal(await one.ask({ say: "" })), [400, "invalid_value", "say"]);
  assert.deepEqual(await refusal(await one.ask({ say: "x".repeat(3000) })), [
    400,
    "context_length_exceeded",
    "say",
  ]);
  assert.deepEqual(await refusal(await one.ask("{")), [400, "invalid_json", null]);
  assert.deepEqual(await refusal(await one.ask({ say: "x", model: "y" })), [
    404,
    "model_not_found",
    "model",
  ]);
  assert.deepEqual(await refusal(await one.ask({ say: "x".repeat(9000) })), [
    413,
    "body_too_large",
    null,
  ]);
  assert.deepEqual(await refusal(await one.ask({ say: "x" }, { host: "evil.example" })), [
    403,
    "host_not_allowed",
    null,
  ]);
  assert.deepEqual(await refusal(await one.app.request("/shout")), [
    405,
    "method_not_allowed",
    null,
  ]);
  one.instance.drain();
  assert.deepEqual(await refusal(await one.ask({ say: "x" })), [503, "closing", null]);
  const keyed = open({}, { apiKeys: ["k"] });
  assert.deepEqual(await refusal(await keyed.ask({ say: "x" })), [401, "missing_api_key", null]);
  // Where there is no dialect, OpenAI's.
  assert.equal((await (await one.app.request("/else")).json()).error.code, "not_found");
});

Deno.test("a dialect's errors are described by its own schema", () => {
  const info = { title: "", version: "" };
  const document = generateFunction(shouting).getOpenAPI31Document({ openapi: "3.1.0", info });
  const { paths } = JSON.parse(JSON.stringify(document));
  const { 200: _, ...errors } = paths["/shout"].post.responses;
  assert.deepEqual(Object.keys(errors), ["400", "401", "404", "413", "415", "429", "503"]);
  // deno-lint-ignore no-explicit-any
  for (const [status, { content }] of Object.entries<any>(errors)) {
    const { schema } = content["application/json"];
    assert.deepEqual(schema, { $ref: "#/components/schemas/ShoutError" }, status);
  }
});

Deno.test("a stream that fails ends in an event of its dialect's error form", async () => {
  const { ask } = open({ failAfter: 3 });
  const error = console.error;
  console.error = () => {};
  const events = await (await ask({ say: "x", stream: true })).text();
  console.error = error;
  const last = events.trimEnd().split("\n\n").at(-1);
  const data = { type: "error", kind: { status: 500, code: "internal_error", param: null } };
  assert.equal(last, `event: error\ndata: ${JSON.stringify(data)}`);
});

Deno.test("a body that does not come in time is 408 in the form of its path's dialect", async () => {
  const { app, functions } = open();
  const server = await listen({
    maxConnections: 10,
    host: "127.0.0.1",
    port: 0,
    errorShapeOf: errorShapes(functions),
    timeouts: { headersMs: 50, requestMs: 50, keepAliveMs: 1000, checkMs: 10 },
  }, app.fetch);
  const send = (head: string) => {
    const socket = connect(server.port, "127.0.0.1");
    socket.write(head);
    return text(socket);
  };
  const half = "host: localhost\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
  const known = await send(`POST /shout?x=1 HTTP/1.1\r\n${half}`);
  assert.match(known, /^HTTP\/1.1 408 /);
  assert.match(known, /\{"type":"error","kind":\{"status":408,"code":"request_timeout"/);
  const unknown = await send("POST /sho");
  assert.match(unknown, /"error":\{"message":"Cannot read request.*"code":"request_timeout"/);
  await server.shutdown();
});

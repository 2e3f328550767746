/**
 * Each list of a body at its bound, each field that is not served, each error of the engine.
 *
 * @module
 */
import assert from "node:assert/strict";
import { HTTPException } from "hono/http-exception";
import { EngineError, type EngineErrorCode } from "../../engine/types.ts";
import { HttpError, isForCallers, refusalOf } from "../../functions/dialects/http_error.ts";
import { openAiError } from "../../functions/dialects/openai/error_shape.ts";
import { failureReason, toHttpError } from "../../functions/server/errors.ts";
import { standardError } from "../../functions/server/standard_output.ts";
import { fakeHarness, linesTo } from "./harness.ts";

const CHAT = "/v1/chat/completions", COMPLETIONS = "/v1/completions", GENERATE = "/generate";
const hello = { role: "user", content: "Hi" };
const call = { function: { name: "f" } };

/** A list with so many items: route, body, name and rule. */
type Bound = readonly [
  path: string,
  bodyOf: (count: number) => object,
  param: string,
  most: number,
];
const times = <T>(count: number, item: T): T[] => Array(count).fill(item);
const bounds: readonly Bound[] = [
  [CHAT, (count) => ({ messages: times(count, hello), max_tokens: 1 }), "messages", 2048],
  [
    CHAT,
    (count) => ({
      messages: [{ role: "user", content: times(count, { type: "text", text: "" }) }],
      max_tokens: 1,
    }),
    "messages[0].content",
    256,
  ],
  [
    CHAT,
    (count) => ({
      messages: [{ role: "assistant", tool_calls: times(count, call) }, hello],
      max_tokens: 1,
    }),
    "messages[0].tool_calls",
    256,
  ],
  [
    CHAT,
    (count) => ({
      messages: [hello],
      max_tokens: 1,
      tools: times(count, {}),
      tool_choice: "none",
    }),
    "tools",
    1024,
  ],
  [
    CHAT,
    (count) => ({ messages: [hello], max_tokens: 1, documents: times(count, {}) }),
    "documents",
    1024,
  ],
  [COMPLETIONS, (count) => ({ prompt: times(count, "a"), max_tokens: 1 }), "prompt", 128],
  [COMPLETIONS, (count) => ({ prompt: times(count, [1]), max_tokens: 1 }), "prompt", 128],
  [
    COMPLETIONS,
    (count) => ({
      prompt: "a",
      max_tokens: 1,
      logit_bias: Object.fromEntries(times(count, 1).map((bias, token) => [token, bias])),
    }),
    "logit_bias",
    1024,
  ],
  [COMPLETIONS, (count) => ({ prompt: "a", max_tokens: 1, stop: times(count, "z") }), "stop", 16],
  [
    COMPLETIONS,
    (count) => ({ prompt: "a", max_tokens: 1, stop_token_ids: times(count, 1) }),
    "stop_token_ids",
    256,
  ],
  [
    COMPLETIONS,
    (count) => ({ prompt: "a", max_tokens: 1, bad_words_token_ids: times(count, [1]) }),
    "bad_words_token_ids",
    256,
  ],
  [
    COMPLETIONS,
    (count) => ({ prompt: "a", max_tokens: 1, bad_words_token_ids: [times(count, 1)] }),
    "bad_words_token_ids[0]",
    64,
  ],
  ["/detokenize", (count) => ({ tokens: times(count, 1) }), "tokens", 131_072],
];

Deno.test("each list of a body may have so many items, and not one more", async () => {
  await using harness = fakeHarness({ maxModelLen: 100_000 });
  for (const [path, bodyOf, param, most] of bounds) {
    const { error } = await harness.json(path, bodyOf(most + 1), 400);
    const message = `${param} must have at most ${most} items: current value has ${most + 1}`;
    assert.equal(error.message, `Cannot read request: ${message}`);
    assert.equal(error.param, param);
    const response = await harness.post(path, bodyOf(most));
    const answer = await response.text();
    // The engine's own tables may be smaller than what a body may hold.
    if (response.status !== 200) assert.doesNotMatch(answer, /must have at most \d+ items/);
  }
});

Deno.test("token ids are integers of 32 bits", async () => {
  await using harness = fakeHarness();
  const wrong: readonly (readonly [tokens: unknown, rule: string])[] = [
    [[], "tokens must have at least 1 item: current value has 0"],
    [[1, -1], "tokens[1] must be >= 0: current value is -1"],
    [[2 ** 32], "tokens[0] must be <= 4294967295: current value is 4294967296"],
    [[0.5], "tokens[0] must be an integer: current value is 0.5"],
    [[1, "1"], 'tokens[1] must be an integer: current value is "1"'],
    ["1", 'tokens must be an array: current value is "1"'],
    [{}, "tokens must be an array: current value is an object"],
  ];
  for (const [tokens, rule] of wrong) {
    const { error } = await harness.json(GENERATE, { tokens, max_tokens: 1 }, 400);
    assert.equal(error.message, `Cannot read request: ${rule}`);
  }
  const { error } = await harness.json(GENERATE, { tokens: [2 ** 32 - 1], max_tokens: 1 }, 400);
  assert.match(error.message, /^Cannot submit request: tokens must hold token ids from 0 to 257/);
});

/** Of a field that is not served: a value that asks for something, values that ask for nothing. */
const unsupported: Readonly<
  Record<string, readonly [asks: unknown, harmless: readonly unknown[], routes?: string]>
> = {
  response_format: [{ type: "json_object" }, [{ type: "text" }]],
  structured_outputs: [{}, []],
  guided_json: [{}, []],
  guided_regex: ["a", []],
  guided_choice: [[], []],
  guided_grammar: ["a", []],
  bad_words: [["a"], [[], {}]],
  allowed_token_ids: [[], []],
  truncate_prompt_tokens: [1, []],
  use_beam_search: [true, [false]],
  best_of: [2, [1]],
  length_penalty: [2, [1]],
  logits_processors: [["a"], [[], {}]],
  prompt_embeds: ["a", []],
  vllm_xargs: [{ a: 1 }, [{}, []]],
  tool_choice: ["required", ["none", "auto"], "chat"],
  functions: [[{}], [[], {}], "chat"],
  function_call: [{ name: "f" }, ["none", "auto"], "chat"],
  modalities: [["text", "audio"], [["text"]], "chat"],
  audio: [{}, [], "chat"],
  prediction: [{}, [], "chat"],
  chat_template: ["a", [], "chat"],
  echo: [true, [false], "chat"],
  suffix: ["a", [""], "completions"],
};

for (const [field, [asks, harmless, routes]] of Object.entries(unsupported)) {
  Deno.test(`${field} is not served, and may say what holds anyhow`, async () => {
    await using harness = fakeHarness();
    const bodies = [
      ...(routes === "completions" ? [] : [[CHAT, { messages: [hello], max_tokens: 1 }] as const]),
      ...(routes === "chat" ? [] : [[COMPLETIONS, { prompt: "a", max_tokens: 1 }] as const]),
    ];
    for (const [path, body] of bodies) {
      const { error } = await harness.json(path, { ...body, [field]: asks }, 400);
      assert.deepEqual([error.code, error.param], ["invalid_value", field]);
      assert.match(error.message, new RegExp(`^Cannot read request: ${field} is not supported`));
      for (const value of [null, ...harmless]) {
        await harness.json(path, { ...body, [field]: value });
      }
    }
  });
}

/** Status, code and type of each error of the engine; undefined is for the log alone. */
const engineErrors: Readonly<
  Record<EngineErrorCode, readonly [status: number, code: string, type: string] | undefined>
> = {
  invalid_argument: [400, "invalid_value", "invalid_request_error"],
  context_length_exceeded: [400, "context_length_exceeded", "invalid_request_error"],
  output_too_long: [400, "output_too_long", "invalid_request_error"],
  unsupported: [400, "unsupported", "invalid_request_error"],
  queue_full: [429, "queue_full", "rate_limit_error"],
  deadline: [503, "deadline", "server_error"],
  not_ready: [503, "not_ready", "server_error"],
  closing: [503, "closing", "server_error"],
  out_of_memory: [503, "out_of_memory", "server_error"],
  device_lost: [503, "device_lost", "server_error"],
  io_error: undefined,
  internal: undefined,
};

Deno.test("each error of the engine has its status, code and type, or is for the log alone", async () => {
  for (const [name, expected] of Object.entries(engineErrors)) {
    const error = new EngineError(name as EngineErrorCode, "Why", { retryAfterMs: 7 });
    assert.equal(isForCallers(error), expected !== undefined, name);
    const log = await linesTo(standardError, () => {
      const refused = toHttpError(error, "r1");
      const { error: said } = openAiError(refused) as { error: Record<string, unknown> };
      if (expected === undefined) {
        assert.equal(refusalOf(error), undefined);
        assert.deepEqual([refused.status, refused.code], [500, "internal_error"]);
        assert.equal(refused.message, "Internal error: the log of the server has more");
      } else {
        assert.deepEqual([refused.status, refused.code, said["type"]], expected, name);
        assert.deepEqual([refused.message, refused.retryAfterMs], ["Why", 7]);
      }
      return Promise.resolve();
    });
    assert.equal(log.length, expected === undefined ? 1 : 0);
    if (expected === undefined) assert.match(log[0]!, /^request r1 failed: EngineError: Why/);
    const reason = expected === undefined ? "the log of the server has more" : "Why";
    assert.equal(failureReason(error), reason);
  }
  assert.equal(failureReason(undefined), "the log of the server has more");
  const known = new HttpError(418, "teapot", "Tea");
  assert.equal(toHttpError(known), known);
  const thrown = toHttpError(new HTTPException(405, { message: "Not so" }));
  assert.deepEqual([thrown.status, thrown.code, thrown.message], [405, "error", "Not so"]);
  const log = await linesTo(standardError, () => Promise.resolve(void toHttpError(new Error("x"))));
  assert.match(log[0]!, /^request - failed: Error: x/);
});

Deno.test("an error of OpenAI's shape has the type of its status", () => {
  const types: Readonly<Record<number, string>> = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "invalid_request_error",
    429: "rate_limit_error",
    499: "invalid_request_error",
    500: "server_error",
    503: "server_error",
  };
  for (const [status, type] of Object.entries(types)) {
    const error = new HttpError(Number(status) as 400, "c", "m", "p");
    assert.deepEqual(openAiError(error), { error: { message: "m", type, param: "p", code: "c" } });
  }
});

Deno.test("Retry-After is in whole seconds, at least one", async () => {
  await using harness = fakeHarness();
  const retries = [[1, "1"], [1000, "1"], [1001, "2"], [2500, "3"], [undefined, null]] as const;
  for (const [retryAfterMs, expected] of retries) {
    harness.engine.generate = () => {
      throw new EngineError("queue_full", "Full", retryAfterMs ? { retryAfterMs } : {});
    };
    const response = await harness.post(COMPLETIONS, { prompt: "a" });
    assert.equal(response.status, 429);
    assert.equal(response.headers.get("retry-after"), expected);
    await response.text();
  }
});

Deno.test("routes that there are not, and methods that they do not take, are named", async () => {
  await using harness = fakeHarness();
  const ask = async (method: string, path: string) => {
    const response = await harness.app.request(path, { method });
    const { error } = await response.json();
    return [response.status, error.code, error.message, response.headers.get("allow")];
  };
  assert.deepEqual(await ask("GET", "/nowhere"), [
    404,
    "not_found",
    "Cannot find route: GET /nowhere; /openapi.json lists what there is",
    null,
  ]);
  assert.deepEqual(await ask("GET", GENERATE), [
    405,
    "method_not_allowed",
    "Cannot answer: /generate takes POST: current method is GET",
    "POST",
  ]);
  assert.deepEqual(await ask("POST", "/health"), [
    405,
    "method_not_allowed",
    "Cannot answer: /health takes GET: current method is POST",
    "GET",
  ]);
});

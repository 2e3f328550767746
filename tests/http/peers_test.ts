/**
 * What clients of other servers send, and what they look for in answers.
 *
 * @module
 */
import assert from "node:assert/strict";
import { baseApp } from "../../functions/server/base_app.ts";
import { Instance } from "../../functions/server/instance.ts";
import { openApiFunction } from "../../functions/server/openapi_function.ts";
import { standardError, standardOutput } from "../../functions/server/standard_output.ts";
import { fakeHarness, linesTo } from "./harness.ts";

const CHAT = "/v1/chat/completions", COMPLETIONS = "/v1/completions";
const messages = [{ role: "user", content: "Hi" }];

Deno.test("a seed has 64 bits, exact ones, wherever its name stands besides", async () => {
  const seeds: readonly (readonly [body: string, seed: number | bigint])[] = [
    ['{"prompt":"x","seed":7}', 7],
    ['{"prompt":"x","seed":-1}', -1],
    ['{"seed": 9007199254740993, "prompt":"x"}', 9007199254740993n],
    ['{"prompt":"x","seed" :\n9223372036854775807}', 9223372036854775807n],
    ['{"prompt":"x","seed":18446744073709551615}', 18446744073709551615n],
    ['{"prompt":"x","seed":-9223372036854775808}', -9223372036854775808n],
    ['{"prompt":"\\"seed\\":18446744073709551614","seed":18446744073709551615}', 2n ** 64n - 1n],
    ['{"prompt":"x","a":{"seed":10000000000000000},"seed":9007199254740993}', 9007199254740993n],
  ];
  await using harness = fakeHarness();
  for (const [body, seed] of seeds) {
    assert.equal((await harness.post(COMPLETIONS, body)).status, 200, body);
    assert.equal(harness.engine.requests.at(-1)!.seed, seed, body);
  }
  const wrong = [
    "18446744073709551616",
    "-9223372036854775809",
    "1e19",
    "9007199254740993.0",
    '9007199254740993,"a":{"seed":9007199254740992}',
  ];
  for (const seed of wrong) {
    const { error } = await harness.json(COMPLETIONS, `{"prompt":"x","seed":${seed}}`, 400);
    assert.equal(error.param, "seed");
    const rule =
      /^Cannot read request: seed must be an integer of at most 64 bits, written in digits/;
    assert.match(error.message, rule, seed);
  }
});

Deno.test("top_p 0 is greedy, a seed below 0 random", async () => {
  await using harness = fakeHarness();
  for (const path of [CHAT, COMPLETIONS, "/generate"]) {
    const prompt = path === CHAT ? { messages } : { prompt: "x" };
    await harness.json(path, { ...prompt, max_tokens: 1, top_p: 0, seed: -1 });
  }
});

Deno.test("names that objects have by themselves are not lost in silence", async () => {
  await using harness = fakeHarness({
    template: "{{ tools | tojson }}{{ documents | tojson }}{{ __proto__ }}",
  });
  const body = `{"messages":[{"role":"user","content":"x"}],"tools":[{"__proto__":1}],` +
    `"documents":[{"__proto__":2}],"chat_template_kwargs":{"__proto__":3}}`;
  const { tokens } = await harness.json("/tokenize", body);
  const { prompt } = await harness.json("/detokenize", { tokens });
  assert.equal(prompt, '[{"__proto__": 1}][{"__proto__": 2}]3');
});

Deno.test("prompt_token_ids stand at the top of a chat's first chunk, and in no later one", async () => {
  await using harness = fakeHarness();
  const body = { messages, max_tokens: 2, n: 2, return_token_ids: true };
  const { prompt_token_ids } = await harness.json(CHAT, body);
  const [first, ...later] = await harness.events(CHAT, body);
  assert.deepEqual(first.prompt_token_ids, prompt_token_ids);
  for (const event of later.slice(0, -1)) assert.ok(!("prompt_token_ids" in event));
  for (const { choices } of [first, ...later.slice(0, -1)]) {
    assert.ok(!("prompt_token_ids" in choices[0]));
  }
});

Deno.test("logprobs 0 of completions are those of the chosen token", async () => {
  await using harness = fakeHarness();
  const body = { prompt: "x", max_tokens: 3, logprobs: 0, echo: true };
  const { choices: [{ logprobs }] } = await harness.json(COMPLETIONS, body);
  const { tokens, token_logprobs, top_logprobs } = logprobs;
  assert.ok(tokens.length > 3);
  for (const [i, token] of tokens.entries()) {
    const logprob = token_logprobs[i];
    assert.deepEqual(top_logprobs[i], logprob === null ? null : { [token]: logprob });
  }
});

Deno.test("return_tokens_as_token_ids calls tokens by their ids, where texts begin as before", async () => {
  await using harness = fakeHarness();
  const body = { max_tokens: 3, return_token_ids: true, return_tokens_as_token_ids: true };
  const text = { ...body, prompt: "x", logprobs: 1 };
  const { choices: [choice] } = await harness.json(COMPLETIONS, text);
  const names = choice.token_ids.map((id: number) => `token_id:${id}`);
  assert.deepEqual(choice.logprobs.tokens, names);
  for (const [i, top] of choice.logprobs.top_logprobs.entries()) assert.ok(names[i] in top);
  const plain = await harness.json(COMPLETIONS, { ...text, return_tokens_as_token_ids: false });
  assert.deepEqual(choice.logprobs.text_offset, plain.choices[0].logprobs.text_offset);

  const chat = { ...body, messages, logprobs: true, top_logprobs: 2 };
  const { choices: [{ logprobs, token_ids }] } = await harness.json(CHAT, chat);
  for (const [i, { token, bytes, top_logprobs }] of logprobs.content.entries()) {
    assert.equal(token, `token_id:${token_ids[i]}`);
    assert.deepEqual(bytes, [token_ids[i]], "bytes are the token's own");
    for (const one of top_logprobs) assert.match(one.token, /^token_id:\d+$/);
  }
});

Deno.test("best_of as many as n asks for nothing more", async () => {
  await using harness = fakeHarness();
  for (const [path, prompt] of [[CHAT, { messages }], [COMPLETIONS, { prompt: "x" }]] as const) {
    const body = { ...prompt, max_tokens: 1, n: 2 };
    assert.equal((await harness.json(path, { ...body, best_of: 2 })).choices.length, 2);
    const { error } = await harness.json(path, { ...body, best_of: 3 }, 400);
    assert.equal(error.param, "best_of");
    assert.match(error.message, /best_of is not supported above n: current value is 3$/);
  }
});

Deno.test("add_special_tokens puts BOS before a rendered conversation, too, and none before a text", async () => {
  await using harness = fakeHarness();
  const BOS = 256;
  const firstOf = async (path: string, body: object) => {
    const answer = await harness.json(path, { max_tokens: 1, return_token_ids: true, ...body });
    return (answer.prompt_token_ids ?? answer.tokens ?? answer.choices[0].prompt_token_ids)[0];
  };
  for (const [path, prompt] of [[CHAT, { messages }], ["/tokenize", { messages }]] as const) {
    assert.equal(await firstOf(path, { ...prompt, add_special_tokens: true }), BOS);
    assert.notEqual(await firstOf(path, prompt), BOS);
  }
  for (const path of [COMPLETIONS, "/tokenize"]) {
    assert.notEqual(await firstOf(path, { prompt: "x", add_special_tokens: false }), BOS);
    assert.equal(await firstOf(path, { prompt: "x" }), BOS);
  }
  await harness.json("/generate", { messages, max_tokens: 1, add_special_tokens: true });
  assert.equal(harness.engine.requests.at(-1)!.addSpecialTokens, true);
});

Deno.test("fields of other servers may say what asks for nothing", async () => {
  await using harness = fakeHarness();
  const nothing = {
    grammar: "",
    json_schema: null,
    format: "",
    regex: false,
    repeat_penalty: 1,
    typical_p: 1.0,
    mirostat: 0,
    dry_multiplier: 0,
    xtc_probability: 0,
    lora: [],
    samplers: [],
    n_predict: null,
    n_probs: 0,
    return_hidden_states: false,
    kv_transfer_params: {},
    spaces_between_special_tokens: true,
    service_tier: "flex",
    store: true,
  };
  await harness.json(CHAT, { messages, max_tokens: 1, ...nothing });
  await harness.json(COMPLETIONS, { prompt: "x", max_tokens: 1, ...nothing });
});

Deno.test("a field that is not served names the one that is", async () => {
  await using harness = fakeHarness();
  const body = { prompt: "x", repeat_penalty: 1.1 };
  const { error } = await harness.json(COMPLETIONS, body, 400);
  assert.equal(
    error.message,
    "Cannot read request: repeat_penalty is not supported, repetition_penalty is: current value is 1.1",
  );
});

Deno.test("/openapi.json shows no field that is refused, and names them", async () => {
  await using harness = fakeHarness();
  const { components } = await (await harness.get("/openapi.json")).json();
  for (const name of ["ChatCompletionRequest", "CompletionRequest"]) {
    const { description, properties } = components.schemas[name];
    for (const field of ["guided_json", "grammar", "lora"]) {
      assert.ok(!(field in properties));
      assert.ok(description.includes(field));
    }
  }
  const [chat, text, own] = ["ChatCompletion", "Completion", "GenerateAnswer"].map((name) => {
    const { choices, outputs } = components.schemas[name].properties;
    return (choices ?? outputs).items.properties.finish_reason.enum;
  });
  assert.deepEqual([chat, text], [["stop", "length"], ["stop", "length"]]);
  assert.deepEqual(own, ["stop", "length", "deadline"]);
});

Deno.test("routes answer without /v1 and with a slash at their end", async () => {
  await using harness = fakeHarness({}, { apiKeys: ["k"] });
  const headers = { authorization: "Bearer k" };
  for (const path of ["/chat/completions", "/chat/completions/", `${CHAT}/`]) {
    const response = await harness.post(path, { messages, max_tokens: 1 }, { headers });
    assert.equal((await response.json()).object, "chat.completion", path);
  }
  for (const path of ["/completions", "/completions/", `${COMPLETIONS}/`]) {
    const response = await harness.post(path, { prompt: "x", max_tokens: 1 }, { headers });
    assert.equal((await response.json()).object, "text_completion", path);
  }
  for (const path of ["/models", "/models/", "/v1/models/", "/models/fake", "/v1/models/fake/"]) {
    assert.equal((await harness.get(path, headers)).status, 200, path);
    assert.equal((await harness.get(path)).status, 401, path);
  }
  assert.equal((await harness.get("/health/")).status, 200, "still without a key");
  assert.equal((await harness.get("/models/", headers)).headers.get("allow"), null);
  assert.equal((await harness.app.request("/models/", { method: "PUT", headers })).status, 405);
});

Deno.test("/openapi.json says who needs a key, what each operation is called, what heads answers", async () => {
  const documentOf = async (apiKeys: string[]) => {
    await using harness = fakeHarness({}, { apiKeys });
    return await (await harness.get("/openapi.json")).json();
  };
  const open = await documentOf([]);
  assert.deepEqual([open.security, open.components.securitySchemes], [[], undefined]);
  const keyed = await documentOf(["k"]);
  assert.deepEqual(keyed.security, [{ apiKey: [] }, { xApiKey: [] }, { azureApiKey: [] }]);
  assert.deepEqual(Object.keys(keyed.components.securitySchemes).length, 3);
  const ids: string[] = [];
  // deno-lint-ignore no-explicit-any
  for (const [path, methods] of Object.entries<any>(keyed.paths)) {
    for (
      const { operationId, tags, security, responses } of Object.values<typeof methods>(methods)
    ) {
      ids.push(operationId);
      assert.equal(tags.length, 1);
      const isProbe = path === "/health" || path === "/ready";
      assert.deepEqual(security, isProbe ? [] : undefined, path);
      assert.equal("401" in responses, !isProbe, path);
      for (const [status, { headers }] of Object.entries<typeof methods>(responses)) {
        assert.ok(headers["x-request-id"]);
        assert.equal("retry-after" in headers, status === "429" || status === "503");
      }
    }
  }
  assert.equal(new Set(ids).size, ids.length);
  assert.ok(ids.includes("createChatCompletion") && ids.includes("listModels"));
  const { GenerateRequest, TokenizeRequest } = keyed.components.schemas;
  assert.equal(GenerateRequest.allOf[0].oneOf.length, 3);
  assert.equal(TokenizeRequest.allOf[0].oneOf.length, 2);
  assert.equal(GenerateRequest.type, "object");
});

Deno.test("a function that runs alone describes itself", async () => {
  const { detokenize } = await import("../../functions/detokenize.ts");
  const instance = new Instance({ accessLog: "off" });
  const app = baseApp(instance, [detokenize, openApiFunction([detokenize])]);
  const { paths } = await (await app.request("/openapi.json")).json();
  assert.deepEqual(Object.keys(paths), ["/detokenize"]);
});

Deno.test("/tokenizer_info tells special tokens and the chat template", async () => {
  await using harness = fakeHarness({ template: "{{ messages }}" }, { apiKeys: ["k"] });
  assert.equal((await harness.get("/tokenizer_info")).status, 401);
  const response = await harness.get("/tokenizer_info", { authorization: "Bearer k" });
  assert.deepEqual(await response.json(), {
    tokenizer_class: "PreTrainedTokenizerFast",
    model_max_length: harness.engine.maxModelLen,
    bos_token: "<s>",
    eos_token: "</s>",
    additional_special_tokens: [],
    chat_template: "{{ messages }}",
  });
});

Deno.test("a compressed body is 415 with the reason", async () => {
  await using harness = fakeHarness();
  for (const path of [CHAT, "/tokenize"]) {
    const init = { headers: { "content-encoding": "gzip" } };
    const response = await harness.post(path, { prompt: "x" }, init);
    const { error } = await response.json();
    assert.deepEqual([response.status, error.code], [415, "unsupported_content_encoding"]);
    assert.match(error.message, /must not be compressed: content-encoding is gzip$/);
  }
  const init = { headers: { "content-encoding": "identity" } };
  assert.equal((await harness.post("/tokenize", { prompt: "x" }, init)).status, 200);
});

Deno.test("HEAD tells the length of what GET answers", async () => {
  await using harness = fakeHarness();
  for (const path of ["/health", "/v1/models"]) {
    const { length } = await (await harness.get(path)).text();
    const head = await harness.app.request(path, { method: "HEAD" });
    assert.deepEqual([head.headers.get("content-length"), await head.text()], [String(length), ""]);
  }
});

Deno.test("a stream that was cut is told with the status of what cut it", async () => {
  await using harness = fakeHarness({ failAfter: 3 }, { accessLog: "json" });
  const lines = await linesTo(standardOutput, async (lines) => {
    await linesTo(standardError, async () => {
      await harness.events(CHAT, { messages, max_tokens: 9 });
      while (lines.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    });
  });
  assert.equal(JSON.parse(lines[0]!).status, 500);
});

Deno.test("top_logprobs 0 asks for nothing without logprobs", async () => {
  await using harness = fakeHarness();
  const body = { messages, max_tokens: 1, logprobs: false, top_logprobs: 0 };
  assert.equal((await harness.json(CHAT, body)).choices[0].logprobs, null);
});

Deno.test("what an assistant refused with is its words, in a history", async () => {
  await using harness = fakeHarness();
  const parts = [{ type: "text", text: "No." }, { type: "refusal", refusal: "No." }];
  for (const part of parts) {
    const content = [part];
    await harness.json(CHAT, { messages: [...messages, { role: "assistant", content }] });
  }
  const [said, refused] = harness.engine.requests.slice(-2);
  assert.deepEqual(refused!.messages, said!.messages);
  const wrong = { messages: [{ role: "assistant", content: [{ type: "refusal", text: "x" }] }] };
  const { error } = await harness.json(CHAT, wrong, 400);
  assert.equal(error.param, "messages[0].content[0].refusal");
});

/**
 * Every request that must be refused: what is sent, and all that the answer says.
 *
 * @module
 */
import { allowLongTurns, STARTS_WORKER } from "../event_loop_guard.ts";
import assert from "node:assert/strict";
import type { EngineUnderTest } from "./harness.ts";

interface Refusal {
  readonly what: string;
  readonly path: string;
  readonly body: unknown;
  readonly init?: RequestInit;
  readonly status?: number;
  readonly code?: string;
  readonly param: string | RegExp | null;
  readonly message: RegExp;
}

const CHAT = "/v1/chat/completions";
const COMPLETIONS = "/v1/completions";
const hello = [{ role: "user", content: "Hello" }];
const chat = (fields: object) => ({ messages: hello, max_tokens: 2, ...fields });
const text = (fields: object) => ({ prompt: "Hello", max_tokens: 2, ...fields });

/** Values that each sampling field must refuse, on every generating route. */
const badSampling: Record<string, readonly unknown[]> = {
  temperature: [-0.1, 2.1, "hot", 1e400],
  top_p: [-1, 1.01],
  top_k: [-2, 1.5],
  min_p: [-0.1, 1.1],
  presence_penalty: [-2.1, 2.1],
  frequency_penalty: [-2.1, 2.1],
  repetition_penalty: [0, -1],
  n: [0, 129, 1.5, -1],
  seed: [1.5, "x", 1e20, 1e300],
  stop: [7, "", [""], [1], Array(17).fill("x")],
  stop_token_ids: ["a", [-1], [1.5]],
  logit_bias: [[1], { a: 1 }, JSON.parse('{"__proto__":5}'), { 1: 101 }, { 1: -101 }, { 1: "x" }],
  min_tokens: [-1, 1.5],
  ignore_eos: ["yes", 1],
  prompt_logprobs: [-1, 21],
  priority: [1.5, 1001],
  deadline_ms: [0, -1],
  max_tokens: [-1, 1.5, "many", 2 ** 31],
  bad_words_token_ids: [[1], [[]], [[-1]]],
  skip_special_tokens: ["no"],
  include_stop_str_in_output: ["no"],
  stream: ["yes"],
};

const refusals: Refusal[] = [
  ...[CHAT, COMPLETIONS, "/generate", "/tokenize", "/detokenize"].flatMap((path) => [
    {
      what: "not JSON",
      path,
      body: '{"prompt": ',
      code: "invalid_json",
      param: null,
      message: /not valid JSON/,
    },
    {
      what: "NaN, which is not JSON",
      path,
      body: '{"temperature": NaN}',
      code: "invalid_json",
      param: null,
      message: /not valid JSON/,
    },
    {
      what: "JSON that is no object",
      path,
      body: "[1, 2]",
      param: null,
      message: /the body must be an object/,
    },
    {
      what: "a wrong content type",
      path,
      body: "{}",
      init: { headers: { "content-type": "text/plain" } },
      status: 415,
      code: "unsupported_media_type",
      param: null,
      message: /content-type must be application\/json/,
    },
    {
      what: "a body over the limit",
      path,
      body: { prompt: "x".repeat(70_000) },
      status: 413,
      code: "body_too_large",
      param: null,
      message: /at most 65536 bytes/,
    },
    {
      what: "an unknown model",
      path,
      body: path === CHAT
        ? chat({ model: "gpt-9" })
        : path === "/detokenize"
        ? { tokens: [1], model: "gpt-9" }
        : { prompt: "Hello", model: "gpt-9" },
      status: 404,
      code: "model_not_found",
      param: "model",
      message: /"gpt-9"/,
    },
  ]),
  ...Object.entries(badSampling).flatMap(([field, values]) =>
    values.flatMap((value) =>
      ([[CHAT, chat], [COMPLETIONS, text], ["/generate", text]] as const).map((
        [path, withFields],
      ) => ({
        what: `${field} ${JSON.stringify(value)?.slice(0, 30)}`,
        path,
        // JSON.stringify would write null for what overflows.
        body: value === Infinity
          ? JSON.stringify(withFields({ [field]: "@" })).replace('"@"', "1e400")
          : withFields({ [field]: value }),
        // Of the whole field, or of what in it is wrong: `stop[0]`.
        param: new RegExp(`^${field}($|[[.])`),
        message: new RegExp(`^Cannot read request: ${field}`),
      }))
    )
  ),
  ...[
    ["messages", CHAT, { messages: Array(2049).fill(0) }],
    ["messages", "/tokenize", { messages: Array(2049).fill(0) }],
    ["messages[0].content", CHAT, {
      messages: [{ role: "user", content: Array(257).fill({ type: "text", text: "" }) }],
    }],
    [
      "logit_bias",
      CHAT,
      chat({
        logit_bias: Object.fromEntries(Array.from({ length: 1025 }, (_, i) => [i, 1])),
      }),
    ],
    ["stop", CHAT, chat({ stop: Array(17).fill("x") })],
    ["prompt", COMPLETIONS, text({ prompt: Array(129).fill("x") })],
  ].map(([param, path, body]) => ({
    what: `too many items of ${param}`,
    path: path as string,
    body,
    param: param as string,
    message: /must have at most (2048|1024|256|128|16) items: current value has \d+$/,
  })),
  ...[
    ["prompt", COMPLETIONS, { prompt: Array(2049).fill(1) }],
    ["prompt[1]", COMPLETIONS, { prompt: [[1], Array(2049).fill(1)] }],
    ["tokens", "/generate", { tokens: Array(2049).fill(1) }],
  ].map(([param, path, body]) => ({
    what: `${param} of more tokens than the context`,
    path: path as string,
    body,
    code: "context_length_exceeded",
    param: param as string,
    message: /at most 2048 tokens, as this model's .* is 2048 tokens: current value is 2049 tokens/,
  })),
  {
    what: "messages that are missing",
    path: CHAT,
    body: {},
    param: "messages",
    message: /messages is missing/,
  },
  {
    what: "empty messages",
    path: CHAT,
    body: { messages: [] },
    param: "messages",
    message: /messages must have at least 1 item/,
  },
  {
    what: "an unknown role",
    path: CHAT,
    body: { messages: [...hello, { role: "wizard", content: "x" }] },
    param: "messages[1].role",
    message: /messages\[1\]\.role must be "system" or .*: current value is "wizard"/,
  },
  {
    what: "a message without content",
    path: CHAT,
    body: { messages: [...hello, { role: "assistant", content: null, tool_calls: [] }] },
    param: "messages[1].content",
    message: /messages\[1\]\.content must be there, as there are no tool calls/,
  },
  {
    what: "a tool call without a function",
    path: CHAT,
    body: { messages: [{ role: "assistant", tool_calls: [{ id: "1", type: "function" }] }] },
    param: "messages[0].tool_calls[0].function",
    message: /messages\[0\]\.tool_calls\[0\]\.function is missing/,
  },
  {
    what: "a tool call whose arguments are no JSON",
    path: CHAT,
    body: {
      messages: [{
        role: "assistant",
        tool_calls: [{ id: "1", type: "function", function: { name: "f", arguments: "{" } }],
      }],
    },
    param: "messages[0].tool_calls[0].function.arguments",
    message: /function\.arguments must be JSON: current value is \{/,
  },
  {
    what: "content that is a number",
    path: CHAT,
    body: { messages: [{ role: "user", content: 7 }] },
    param: "messages[0].content",
    message: /must be a string or an array of text parts/,
  },
  {
    what: "a picture",
    path: CHAT,
    body: {
      messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "x" } }] }],
    },
    param: "messages[0].content[0].type",
    message: /must be "text" or "refusal": current value is "image_url"/,
  },
  ...Object.entries({
    bad_words: ["x"],
    allowed_token_ids: [1],
    truncate_prompt_tokens: 5,
    use_beam_search: true,
    best_of: 2,
    length_penalty: 2,
    guided_json: {},
    response_format: { type: "json_object" },
    logits_processors: ["x"],
    grammar: 'root ::= "a"',
    json_schema: {},
    regex: "a+",
    ebnf: "root ::= a",
    structural_tag: "{}",
    format: "json",
    stop_regex: ["a"],
    repeat_penalty: 1.1,
    typical_p: 0.5,
    mirostat: 2,
    lora: [{ id: 0, scale: 1 }],
    lora_path: "x",
    samplers: ["top_k"],
    n_predict: 5,
    max_new_tokens: 5,
    thinking_token_budget: 10,
    web_search_options: {},
    logprob_token_ids: [1],
    kv_transfer_params: { do_remote_prefill: true },
  }).flatMap(([field, value]) =>
    ([[CHAT, chat], [COMPLETIONS, text]] as const).map(([path, withFields]) => ({
      what: `${field}, which is not served`,
      path,
      body: withFields({ [field]: value }),
      param: field,
      message: new RegExp(`${field} is not supported`),
    }))
  ),
  ...[CHAT, "/tokenize"].map((path) => ({
    what: "a chat template of the caller's",
    path,
    body: chat({ chat_template: "{{ messages }}" }),
    param: "chat_template",
    message: /chat_template is not supported/,
  })),
  ...[CHAT, "/generate", "/tokenize"].flatMap((path) => [
    {
      what: "a reserved variable",
      path,
      body: chat({ chat_template_kwargs: { bos_token: "x" } }),
      param: "chat_template_kwargs.bos_token",
      message: /chat_template_kwargs\.bos_token must be absent, as chat templates are given it/,
    },
    {
      what: "a last message to go on with and to answer",
      path,
      body: chat({ continue_final_message: true, add_generation_prompt: true }),
      param: "add_generation_prompt",
      message: /add_generation_prompt must be false, as the last message is gone on with/,
    },
    {
      what: "documents that are none",
      path,
      body: chat({ documents: [{}, "x"] }),
      param: "documents[1]",
      message: /documents\[1\] must be an object: current value is "x"/,
    },
    {
      what: "variables in a list",
      path,
      body: chat({ chat_template_kwargs: [1] }),
      param: "chat_template_kwargs",
      message: /chat_template_kwargs must be an object/,
    },
  ]),
  {
    what: "tools beside a prompt",
    path: "/generate",
    body: { prompt: "x", tools: [{}] },
    param: "tools",
    message: /tools must be absent, as there are no messages/,
  },
  ...[undefined, "auto"].map((tool_choice) => ({
    what: `tools to be called, tool_choice ${tool_choice}`,
    path: CHAT,
    body: chat({ tools: [{ type: "function", function: { name: "f" } }], tool_choice }),
    param: "tool_choice",
    message: /tool_choice must be "none" beside tools: no calls are read out of answers/,
  })),
  ...["required", { type: "function", function: { name: "f" } }].map((tool_choice) => ({
    what: `tool_choice ${JSON.stringify(tool_choice)}`,
    path: CHAT,
    body: chat({ tool_choice }),
    param: "tool_choice",
    message: /tool_choice is not supported/,
  })),
  ...([[CHAT, chat], [COMPLETIONS, text]] as const).map(([path, withFields]) => ({
    what: "prompt_logprobs in a stream",
    path,
    body: withFields({ stream: true, prompt_logprobs: 1 }),
    param: "prompt_logprobs",
    message: /prompt_logprobs needs stream to be false/,
  })),
  {
    what: "an empty prompt list",
    path: COMPLETIONS,
    body: { prompt: [] },
    param: "prompt",
    message: /prompt must have at least 1 item/,
  },
  {
    what: "a key of logit_bias that is no token id",
    path: CHAT,
    body: chat({ logit_bias: { a: 1 } }),
    param: "logit_bias",
    message: /logit_bias must have token ids as keys: current value is "a"/,
  },
  {
    what: "a bad word out of the vocabulary",
    path: CHAT,
    body: chat({ bad_words_token_ids: [[999999]] }),
    param: "bad_words_token_ids",
    message: /bad_words_token_ids must hold token ids from 0/,
  },
  {
    what: "max_completion_tokens beyond the context",
    path: CHAT,
    body: { messages: hello, max_completion_tokens: 2048 },
    code: "context_length_exceeded",
    param: "max_completion_tokens",
    message: /max_completion_tokens must be at most the \d+ that .* tokens: current value is 2048$/,
  },
  {
    what: "functions",
    path: CHAT,
    body: chat({ functions: [{ name: "f" }] }),
    param: "functions",
    message: /functions is not supported/,
  },
  ...["none", 5, true].map((value) => ({
    what: `tools as ${JSON.stringify(value)}`,
    path: CHAT,
    body: chat({ tools: value }),
    param: "tools",
    message: /tools must be an array/,
  })),
  {
    what: "many parts that are none",
    path: CHAT,
    body: {
      messages: Array(64).fill({ role: "user", content: Array(256).fill(1) }),
    },
    param: "messages[0].content[0]",
    message: /must be an object: current value is 1/,
  },
  {
    what: "an unknown field with a long name",
    path: "/generate",
    body: { prompt: "x", ["long".repeat(5000)]: 1 },
    param: /^(long){20}$/,
    message: /is not a field of this route/,
  },
  {
    what: "structured output",
    path: CHAT,
    body: chat({ response_format: { type: "json_object" } }),
    param: "response_format",
    message: /response_format is not supported/,
  },
  ...[chat({}), text({})].map((body) => ({
    what: "stream_options without stream",
    path: "messages" in body ? CHAT : COMPLETIONS,
    body: { ...body, stream_options: { include_usage: true } },
    param: "stream_options",
    message: /stream_options needs stream to be true/,
  })),
  {
    what: "arrays in arrays in arrays",
    path: COMPLETIONS,
    body: `{"prompt":${"[".repeat(20)}${"]".repeat(20)}}`,
    param: "prompt[0][0]",
    message: /current value is an array of 1$/,
  },
  {
    what: "arrays in arrays without end",
    path: COMPLETIONS,
    body: `{"prompt":${"[".repeat(20_000)}${"]".repeat(20_000)}}`,
    param: null,
    message: /the body must be nested at most 64 levels deep$/,
  },
  {
    what: "top_logprobs without logprobs",
    path: CHAT,
    body: chat({ top_logprobs: 2 }),
    param: "top_logprobs",
    message: /needs logprobs/,
  },
  {
    what: "top_logprobs 21",
    path: CHAT,
    body: chat({ logprobs: true, top_logprobs: 21 }),
    param: "top_logprobs",
    message: /must be <= 20: current value is 21/,
  },
  {
    what: "logprobs as a number in chat",
    path: CHAT,
    body: chat({ logprobs: 3 }),
    param: "logprobs",
    message: /must be a boolean/,
  },
  {
    what: "logprobs as a boolean in completions",
    path: COMPLETIONS,
    body: text({ logprobs: true }),
    param: "logprobs",
    message: /must be a number/,
  },
  {
    what: "max_completion_tokens 0",
    path: CHAT,
    body: { messages: hello, max_completion_tokens: 0 },
    param: "max_completion_tokens",
    message: /must be >= 1: current value is 0/,
  },
  ...[2048, 999_999].map((max_tokens) => ({
    what: `max_tokens ${max_tokens}, beyond the context`,
    path: CHAT,
    body: { messages: hello, max_tokens },
    code: "context_length_exceeded",
    param: "max_tokens",
    message: new RegExp(
      "max_tokens must be at most the \\d+ that a prompt of \\d+ tokens leaves, as this model's " +
        `maximum context length is 2048 tokens: current value is ${max_tokens}$`,
    ),
  })),
  ...[CHAT, COMPLETIONS, "/generate"].map((path) => ({
    what: "a prompt longer than the context",
    path,
    body: path === CHAT
      ? { messages: [{ role: "user", content: "longer ".repeat(3000) }] }
      : { prompt: "longer ".repeat(3000) },
    code: "context_length_exceeded",
    param: path === CHAT ? "messages" : "prompt",
    message: new RegExp(
      `^Cannot submit request: ${path === CHAT ? "messages" : "prompt"} must leave room for 1 ` +
        "output token, as this model's maximum context length is 2048 tokens: " +
        "current value is \\d{4,} tokens$",
    ),
  })),
  {
    what: "a prompt that is missing",
    path: COMPLETIONS,
    body: {},
    param: "prompt",
    message: /prompt is missing/,
  },
  ...[["an empty prompt", ""], ["no tokens", []], ["an empty prompt among two", ["a", ""]]].map((
    [what, prompt],
  ) => ({
    what: what as string,
    path: COMPLETIONS,
    body: { prompt },
    param: Array.isArray(prompt) && prompt.length > 0 ? "prompt[1]" : "prompt",
    message: /prompt/,
  })),
  {
    what: "a token id out of range",
    path: COMPLETIONS,
    body: { prompt: [1, 2, 999_999] },
    param: "prompt",
    message: /token ids from 0 to \d+: current value is 999999/,
  },
  {
    what: "a negative token id",
    path: COMPLETIONS,
    body: { prompt: [1, -2] },
    param: "prompt[1]",
    message: /prompt\[1\] must be >= 0: current value is -2/,
  },
  {
    what: "a biased token out of range",
    path: COMPLETIONS,
    body: text({ logit_bias: { 999999: 1 } }),
    param: "logit_bias",
    message: /logit_bias must hold token ids from 0/,
  },
  {
    what: "a suffix",
    path: COMPLETIONS,
    body: text({ suffix: "end" }),
    param: "suffix",
    message: /suffix is not supported/,
  },
  {
    what: "best_of",
    path: COMPLETIONS,
    body: text({ best_of: 3 }),
    param: "best_of",
    message: /best_of is not supported/,
  },
  {
    what: "max_tokens 0 without echo",
    path: COMPLETIONS,
    body: text({ max_tokens: 0 }),
    param: "max_tokens",
    message: /without echo/,
  },
  {
    what: "min_tokens over max_tokens",
    path: COMPLETIONS,
    body: text({ max_tokens: 2, min_tokens: 3 }),
    param: "min_tokens",
    message: /min_tokens must be/,
  },
  {
    what: "too many choices",
    path: COMPLETIONS,
    body: { prompt: ["a", "b"], n: 65 },
    param: "n",
    message: /at most 128: current value is 130/,
  },
  {
    what: "an unknown field",
    path: "/generate",
    body: { prompt: "x", max_token: 1 },
    param: "max_token",
    message: /max_token is not a field/,
  },
  {
    what: "two kinds of prompt",
    path: "/generate",
    body: { prompt: "x", tokens: [1] },
    param: "tokens",
    message: /exactly one of prompt, tokens, messages: given are prompt, tokens/,
  },
  {
    what: "no prompt at all",
    path: "/generate",
    body: {},
    param: "prompt",
    message: /exactly one of prompt, tokens, messages: given are none/,
  },
  {
    what: "a token id out of range",
    path: "/detokenize",
    body: { tokens: [1, 999_999] },
    param: "tokens[1]",
    message: /tokens\[1\] must be <= \d+: current value is 999999/,
  },
  {
    what: "neither prompt nor messages",
    path: "/tokenize",
    body: {},
    param: "prompt",
    message: /exactly one of prompt, messages: given are none/,
  },
  {
    what: "an unknown route",
    path: "/v1/poetry",
    body: {},
    status: 404,
    code: "not_found",
    param: null,
    message: /POST \/v1\/poetry/,
  },
  {
    what: "a wrong method",
    path: "/v1/models",
    body: {},
    status: 405,
    code: "method_not_allowed",
    param: null,
    message: /takes GET: current method is POST/,
  },
];

/** Registers the tests over one engine: a test a route, a step a refusal. */
export function testBadInput(under: EngineUnderTest): void {
  for (const path of new Set(refusals.map((refusal) => refusal.path))) {
    Deno.test(`${path} refuses bad input (${under.name})`, async (t) => {
      if (under.name !== "fake engine") allowLongTurns(STARTS_WORKER);
      await using harness = await under.open({ bodyLimitBytes: 65536 });
      for (const refusal of refusals.filter((one) => one.path === path)) {
        await t.step(refusal.what, async () => {
          const response = await harness.post(path, refusal.body, refusal.init);
          const { error } = await response.json();
          const { status = 400, code = "invalid_value", param, message } = refusal;
          assert.equal(response.status, status, JSON.stringify(error));
          assert.match(error.message, message);
          if (param instanceof RegExp) assert.match(error.param, param);
          else assert.equal(error.param, param);
          assert.equal(error.type, "invalid_request_error");
          assert.equal(error.code, code);
          assert.ok(error.message.length < 400, "an answer never repeats a whole prompt");
          assert.ok(response.headers.get("x-request-id"));
        });
      }
      const { numFinished } = harness.engine.stats();
      assert.equal(numFinished.stop + numFinished.length, 0, "nothing was generated");
    });
  }
}

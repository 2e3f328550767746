/**
 * Whole answers and streams of each dialect, field by field.
 *
 * @module
 */
import assert from "node:assert/strict";
import { fakeHarness, type Harness } from "./harness.ts";

const CHAT = "/v1/chat/completions", COMPLETIONS = "/v1/completions", GENERATE = "/generate";

/** With ids and times that do not change. */
function steady<T>(answer: T): T {
  const text = JSON.stringify(answer)
    .replaceAll(/"(chatcmpl|cmpl|gen)-[0-9a-f]{32}"/g, '"$1-0"')
    .replaceAll(/"created":\d{10}/g, '"created":0');
  return JSON.parse(text);
}

const whole = async (harness: Harness, path: string, body: object) =>
  steady(await harness.json(path, body));
const stream = async (harness: Harness, path: string, body: object) =>
  steady(await harness.events(path, body));

const open = () => fakeHarness({ answer: "abcd" });
const messages = [{ role: "user", content: "Hi" }];
/** `user: Hi`, a line's end and `assistant: `. */
const CHAT_PROMPT = [..."user: Hi\nassistant: "].map((letter) => letter.charCodeAt(0));

const head = (id: string, object: string) => ({
  id: `${id}-0`,
  object,
  created: 0,
  model: "fake",
  system_fingerprint: "fp_0123456789abcdef",
});
const usage = (prompt: number, completion: number) => ({
  prompt_tokens: prompt,
  completion_tokens: completion,
  total_tokens: prompt + completion,
  prompt_tokens_details: { cached_tokens: 0 },
});
const chatLogprob = (token: string) => ({
  token,
  logprob: -0.5,
  bytes: [token.charCodeAt(0)],
  top_logprobs: [{ token, logprob: -0.5, bytes: [token.charCodeAt(0)] }],
});

Deno.test("a chat's whole answer, plain and with all that may come along", async () => {
  await using harness = open();
  const message = { role: "assistant", content: "ab", refusal: null };
  const end = { finish_reason: "length", stop_reason: null };
  assert.deepEqual(await whole(harness, CHAT, { messages, max_tokens: 2 }), {
    ...head("chatcmpl", "chat.completion"),
    choices: [{ index: 0, message, logprobs: null, ...end }],
    usage: usage(20, 2),
  });
  const all = { logprobs: true, top_logprobs: 1, prompt_logprobs: 1, return_token_ids: true, n: 2 };
  const logprobs = { content: [chatLogprob("a"), chatLogprob("b")] };
  const { prompt_logprobs, ...rest } = await whole(harness, CHAT, {
    messages,
    max_tokens: 2,
    ...all,
  });
  assert.deepEqual(rest, {
    ...head("chatcmpl", "chat.completion"),
    choices: [0, 1].map((index) => ({ index, message, logprobs, ...end, token_ids: [97, 98] })),
    usage: usage(20, 4),
    prompt_token_ids: CHAT_PROMPT,
  });
  assert.equal(prompt_logprobs.length, 20);
  assert.deepEqual(prompt_logprobs.slice(0, 2), [
    null,
    { 115: { logprob: -0.5, rank: 1, decoded_token: "s" } },
  ]);
});

Deno.test("a chat's stream, plain and with all that may come along", async () => {
  await using harness = open();
  const event = (choice: object, more: object = {}) => ({
    ...head("chatcmpl", "chat.completion.chunk"),
    choices: [{ index: 0, logprobs: null, finish_reason: null, ...choice }],
    ...more,
  });
  const begin = { delta: { role: "assistant", content: "" } };
  const end = { finish_reason: "length", stop_reason: null };
  assert.deepEqual(await stream(harness, CHAT, { messages, max_tokens: 2 }), [
    event(begin),
    event({ delta: { content: "a" } }),
    event({ delta: { content: "b" }, ...end }),
    "[DONE]",
  ]);
  const all = {
    logprobs: true,
    top_logprobs: 1,
    return_token_ids: true,
    stream_options: { include_usage: true, continuous_usage_stats: true },
  };
  const piece = (letter: string) => ({
    delta: { content: letter },
    logprobs: { content: [chatLogprob(letter)] },
    token_ids: [letter.charCodeAt(0)],
  });
  const events = await stream(harness, CHAT, { messages, max_tokens: 2, ...all });
  assert.deepEqual(events, [
    event(begin, { prompt_token_ids: CHAT_PROMPT, usage: usage(20, 0) }),
    event(piece("a"), { usage: usage(20, 1) }),
    event({ ...piece("b"), ...end }, { usage: usage(20, 2) }),
    { ...head("chatcmpl", "chat.completion.chunk"), choices: [], usage: usage(20, 2) },
    "[DONE]",
  ]);
  const atEnd = { stream_options: { include_usage: true } };
  assert.deepEqual(
    (await stream(harness, CHAT, { messages, max_tokens: 1, ...atEnd })).map((one) => one.usage),
    [null, null, usage(20, 1), undefined],
  );
});

Deno.test("completions' whole answer: prompts times n, echoed, with log probabilities", async () => {
  await using harness = open();
  const end = { finish_reason: "length", stop_reason: null };
  const plain = { prompt: ["xy", "z"], max_tokens: 2, n: 2, add_special_tokens: false };
  assert.deepEqual(await whole(harness, COMPLETIONS, plain), {
    ...head("cmpl", "text_completion"),
    choices: [0, 1, 2, 3].map((index) => ({ index, text: "ab", logprobs: null, ...end })),
    usage: usage(3, 8),
  });
  const all = {
    prompt: "xy",
    max_tokens: 2,
    add_special_tokens: false,
    echo: true,
    logprobs: 1,
    prompt_logprobs: 2,
    return_token_ids: true,
  };
  const ranked = { logprob: -0.5, rank: 1, decoded_token: "y" };
  assert.deepEqual(await whole(harness, COMPLETIONS, all), {
    ...head("cmpl", "text_completion"),
    choices: [{
      index: 0,
      text: "xyab",
      logprobs: {
        tokens: ["x", "y", "a", "b"],
        token_logprobs: [null, -0.5, -0.5, -0.5],
        top_logprobs: [null, { y: -0.5 }, { a: -0.5 }, { b: -0.5 }],
        text_offset: [0, 1, 2, 3],
      },
      ...end,
      prompt_token_ids: [120, 121],
      token_ids: [97, 98],
      prompt_logprobs: [
        null,
        { 121: ranked, 122: { logprob: -1.5, rank: 2, decoded_token: "z" } },
      ],
    }],
    usage: usage(2, 2),
  });
  const none = await whole(harness, COMPLETIONS, { ...all, logprobs: 0 });
  assert.deepEqual(
    none.choices[0].logprobs.top_logprobs,
    [null, { y: -0.5 }, { a: -0.5 }, { b: -0.5 }],
  );
  const tokens = { prompt: [120, 257, 121], max_tokens: 1, echo: true };
  assert.equal((await whole(harness, COMPLETIONS, tokens)).choices[0].text, "xya");
});

Deno.test("completions' stream: the echo first, offsets that go on", async () => {
  await using harness = open();
  const event = (choice: object) => ({
    ...head("cmpl", "text_completion"),
    choices: [{ index: 0, logprobs: null, finish_reason: null, stop_reason: null, ...choice }],
  });
  const plain = { prompt: "xy", max_tokens: 2, add_special_tokens: false };
  assert.deepEqual(await stream(harness, COMPLETIONS, plain), [
    event({ text: "a" }),
    event({ text: "b", finish_reason: "length" }),
    "[DONE]",
  ]);
  const logprobs = (offset: number, tokens: readonly string[], given = tokens.length) => ({
    tokens,
    token_logprobs: tokens.map((_, i) => i < tokens.length - given ? null : -0.5),
    top_logprobs: tokens.map((token, i) => i < tokens.length - given ? null : { [token]: -0.5 }),
    text_offset: tokens.map((_, i) => offset + i),
  });
  const all = { ...plain, echo: true, logprobs: 1, return_token_ids: true };
  assert.deepEqual(await stream(harness, COMPLETIONS, all), [
    event({
      text: "xya",
      logprobs: logprobs(0, ["x", "y", "a"], 2),
      prompt_token_ids: [120, 121],
      token_ids: [97],
    }),
    event({
      text: "b",
      logprobs: logprobs(3, ["b"]),
      token_ids: [98],
      finish_reason: "length",
    }),
    "[DONE]",
  ]);
  const several = await stream(harness, COMPLETIONS, { ...plain, prompt: ["x", "y"], n: 2 });
  const texts = ["", "", "", ""];
  for (const { choices } of several.slice(0, -1)) texts[choices[0].index] += choices[0].text;
  assert.deepEqual(texts, ["ab", "ab", "ab", "ab"]);
});

Deno.test("our own route's answer, whole and as a stream", async () => {
  await using harness = open();
  const body = { prompt: "xy", max_tokens: 2, add_special_tokens: false };
  const usage = { prompt_tokens: 2, cached_tokens: 0, output_tokens: 2 };
  const output = { index: 0, text: "ab", tokens: [97, 98] };
  const end = { finish_reason: "length", stop_reason: null };
  assert.deepEqual(await whole(harness, GENERATE, body), {
    id: "gen-0",
    model: "fake",
    outputs: [{ ...output, ...end }],
    usage,
  });
  const position = (token: number) => ({ token, logprob: -0.5, top: [{ token, logprob: -0.5 }] });
  const all = { ...body, logprobs: 1, prompt_logprobs: 1 };
  const prompt_logprobs = [null, position(121)];
  assert.deepEqual(await whole(harness, GENERATE, all), {
    id: "gen-0",
    model: "fake",
    outputs: [{ ...output, logprobs: [position(97), position(98)], ...end }],
    prompt_logprobs,
    usage,
  });
  const piece = (letter: string) => ({
    index: 0,
    text: letter,
    tokens: [letter.charCodeAt(0)],
    logprobs: [position(letter.charCodeAt(0))],
    finish_reason: null,
    stop_reason: null,
  });
  assert.deepEqual(await stream(harness, GENERATE, all), [
    piece("a"),
    { ...piece("b"), ...end },
    { prompt_logprobs, usage },
    "[DONE]",
  ]);
});

Deno.test("a stop text is told as the reason, in each dialect", async () => {
  await using harness = open();
  const stop = { stop: ["c"], max_tokens: 9 };
  const reason = { finish_reason: "stop", stop_reason: "c" };
  const reasonOf = ({ finish_reason, stop_reason }: typeof reason) => ({
    finish_reason,
    stop_reason,
  });
  const chat = await whole(harness, CHAT, { messages, ...stop });
  assert.deepEqual(reasonOf(chat.choices[0]), reason);
  const text = await whole(harness, COMPLETIONS, { prompt: "x", ...stop });
  assert.deepEqual(reasonOf(text.choices[0]), reason);
  const own = await whole(harness, GENERATE, { prompt: "x", ...stop });
  assert.deepEqual(reasonOf(own.outputs[0]), reason);
  assert.deepEqual([chat.choices[0].message.content, text.choices[0].text, own.outputs[0].text], [
    "ab",
    "ab",
    "ab",
  ]);
});

Deno.test("models, tokens and versions are told field by field", async () => {
  await using harness = fakeHarness();
  const card = (id: string) => ({
    id,
    object: "model",
    created: harness.instance.created,
    owned_by: "hearth",
    max_model_len: 2048,
  });
  assert.deepEqual(await (await harness.get("/v1/models")).json(), {
    object: "list",
    data: [card("fake")],
  });
  assert.deepEqual(await (await harness.get("/v1/models/fake")).json(), card("fake"));
  const text = { prompt: "a" };
  const tokenized = { tokens: [256, 97], count: 2, max_model_len: 2048 };
  assert.deepEqual(await harness.json("/tokenize", text), tokenized);
  assert.deepEqual(await harness.json("/tokenize", { ...text, return_token_strs: true }), {
    ...tokenized,
    token_strs: ["<s>", "a"],
  });
  for (
    const [wrong, given, param] of [
      [{}, "none", "prompt"],
      [{ ...text, messages }, "prompt, messages", "messages"],
      [{ prompt: null }, "none", "prompt"],
    ] as const
  ) {
    const { error } = await harness.json("/tokenize", wrong, 400);
    assert.deepEqual(
      [error.message, error.param],
      [`Cannot read request: give exactly one of prompt, messages: given are ${given}`, param],
    );
  }
  assert.deepEqual((await harness.json("/tokenize", { messages })).tokens, CHAT_PROMPT);
  const { error } = await harness.json("/detokenize", { tokens: [97, 258] }, 400);
  assert.equal(
    error.message,
    "Cannot read request: tokens[1] must be <= 257: current value is 258",
  );
  assert.deepEqual(await harness.json("/detokenize", { tokens: [256, 97, 257] }), {
    prompt: "<s>a</s>",
  });
  const version = await (await harness.get("/version")).json();
  assert.deepEqual(version, {
    version: JSON.parse(await Deno.readTextFile("deno.json")).version,
    deno: Deno.version.deno,
    engine: { device: "none", kernels: "none" },
  });
});

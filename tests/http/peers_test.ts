/**
 * What clients of other servers send, and what they look for in answers.
 *
 * @module
 */
import assert from "node:assert/strict";
import { fakeHarness } from "./harness.ts";

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

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

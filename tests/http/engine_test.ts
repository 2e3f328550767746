import assert from "node:assert/strict";
import { Engine } from "../../engine/engine.ts";
import type { EngineOptions } from "../../engine/types.ts";
import type { InstanceOptions } from "../../functions/server/instance.ts";
import { testBadInput } from "./bad_input.ts";
import { testConformance } from "./conformance.ts";
import { Harness } from "./harness.ts";

const CHAT = "/v1/chat/completions";
const long = { messages: [{ role: "user", content: "x ".repeat(200) }], max_tokens: 1 };

async function openTiny(
  options: Partial<InstanceOptions> = {},
  engineOptions: EngineOptions = {},
): Promise<Harness> {
  const engine = await Engine.open("tests/data/smollm2-bf16", { numThreads: 1, ...engineOptions });
  return new Harness(engine, options);
}

const tiny = { name: "tiny checkpoint", open: openTiny };

testConformance(tiny);
testBadInput(tiny);

Deno.test("a second call with the same prefix is warm, under the same key alone", async () => {
  await using harness = await openTiny({ apiKeys: ["one", "two"] });
  const cachedTokens = async (key: string) => {
    const headers = { authorization: `Bearer ${key}` };
    const { usage } = await (await harness.post(CHAT, long, { headers })).json();
    return usage.prompt_tokens_details.cached_tokens;
  };
  assert.equal(await cachedTokens("one"), 0);
  assert.ok(await cachedTokens("one") > 100);
  assert.equal(await cachedTokens("two"), 0);
});

Deno.test("a prompt is computed whole where its caller asks for it", async () => {
  await using harness = await openTiny();
  const answer = async (skip: boolean) => {
    const body = { ...long, temperature: 0, skip_reading_prefix_cache: skip };
    const { choices, usage } = await harness.json(CHAT, body);
    return { text: choices[0].message.content, cached: usage.prompt_tokens_details.cached_tokens };
  };
  const { text } = await answer(false);
  assert.deepEqual(await answer(true), { text, cached: 0 });
  assert.ok((await answer(false)).cached > 100);
});

Deno.test("the queue of the engine is bounded: 429 says when to come back", async () => {
  await using harness = await openTiny({}, { maxNumSeqs: 1, maxQueuedRequests: 2 });
  const body = { ...long, max_tokens: 400, ignore_eos: true };
  const answers = await Promise.all(Array.from({ length: 8 }, () => harness.post(CHAT, body)));
  const refused = answers.filter(({ status }) => status === 429);
  // One runs and two wait, though all came before a step had taken one up.
  assert.ok(refused.length > 0 && refused.length <= 5, `${refused.length} refused`);
  for (const response of refused) {
    assert.ok(Number(response.headers.get("retry-after")) >= 1);
    assert.equal((await response.json()).error.code, "queue_full");
  }
  for (const response of answers) {
    if (response.status === 200) assert.equal((await response.json()).usage.completion_tokens, 400);
  }
});

Deno.test("a deadline that passes ends its request: in OpenAI's words by length", async () => {
  await using harness = await openTiny();
  const body = { n: 32, max_tokens: 1500, ignore_eos: true, deadline_ms: 300 };
  for (const [path, prompt] of [[CHAT, long], ["/v1/completions", { prompt: "x" }]] as const) {
    const { choices: [whole] } = await harness.json(path, { ...prompt, ...body });
    assert.deepEqual([whole.finish_reason, whole.stop_reason], ["length", "deadline"], path);
    const { choices: [last] } = (await harness.events(path, { ...prompt, ...body })).at(-2);
    assert.deepEqual([last.finish_reason, last.stop_reason], ["length", "deadline"], path);
  }
  const { outputs: [output] } = await harness.json("/generate", { prompt: "x", ...body });
  assert.deepEqual([output.finish_reason, output.stop_reason], ["deadline", null]);
});

Deno.test("streams of many callers give what each gets alone", async () => {
  await using harness = await openTiny();
  const bodies = Array.from({ length: 24 }, (_, i) => ({
    prompt: `${i} `.repeat(i * 3 + 1),
    max_tokens: 40,
    seed: i,
    temperature: i % 3 === 0 ? 0 : 1,
    ignore_eos: true,
  }));
  const alone: string[] = [];
  for (const body of bodies) {
    alone.push((await harness.json("/v1/completions", body)).choices[0].text);
  }
  const together = await Promise.all(bodies.map(async (body) => {
    const events = await harness.events("/v1/completions", body);
    assert.equal(events.pop(), "[DONE]");
    return events.map(({ choices }) => choices[0].text).join("");
  }));
  assert.deepEqual(together, alone);
});

for (
  const [what, model, message] of [
    ["that its template refuses", "llama2-fp32", /Roles must alternate, user first/],
    ["without a template", "opt-prenorm-fp16", /chat template/],
  ] as const
) {
  Deno.test(`a conversation for a model ${what} is 400 with the reason`, async () => {
    const engine = await Engine.open(`tests/data/${model}`, { numThreads: 1 });
    await using harness = new Harness(engine);
    const messages = [{ role: "user", content: "a" }, { role: "user", content: "b" }];
    for (const path of [CHAT, "/tokenize", "/generate"]) {
      const { error } = await harness.json(path, { messages }, 400);
      assert.match(error.message, message);
      assert.equal(error.param, "messages");
    }
  });
}

Deno.test("/tokenizer_info has what the model's folder says", async () => {
  await using harness = await openTiny();
  const info = await (await harness.get("/tokenizer_info")).json();
  const file = (name: string) => Deno.readTextFileSync(`tests/data/smollm2-bf16/${name}`);
  const { tokenizer_class, chat_template, bos_token } = JSON.parse(file("tokenizer_config.json"));
  assert.deepEqual([info.tokenizer_class, info.bos_token], [tokenizer_class, bos_token]);
  assert.ok(info.additional_special_tokens.includes("<|endoftext|>"));
  assert.equal(info.chat_template, chat_template);
});

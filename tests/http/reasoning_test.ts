import assert from "node:assert/strict";
import { fakeHarness } from "./harness.ts";

const CHAT = "/v1/chat/completions";
const reasoning = { start: "<think>", end: "</think>" };
const answer = "<think>Is it hot?</think>Yes. ";
/** One round of the answer. */
const max_tokens = answer.length;
const chat = { messages: [{ role: "user", content: "Hi" }], max_tokens };

Deno.test("chat tells reasoning by both names, apart from the content", async () => {
  await using harness = fakeHarness({ reasoning, answer });
  const { choices, usage } = await harness.json(CHAT, { ...chat, n: 2 });
  for (const { message } of choices) {
    assert.deepEqual(message, {
      role: "assistant",
      content: "Yes. ",
      refusal: null,
      reasoning: "Is it hot?",
      reasoning_content: "Is it hot?",
    });
  }
  assert.equal(usage.completion_tokens, 2 * max_tokens);
});

Deno.test("a stream has each piece once: reasoning first, then content", async () => {
  await using harness = fakeHarness({ reasoning, answer });
  const events = await harness.events(CHAT, chat);
  const deltas = events.slice(0, -1).map(({ choices }) => choices[0].delta);
  const joined = (name: string) => deltas.map((delta) => delta[name] ?? "").join("");
  assert.equal(joined("reasoning"), "Is it hot?");
  assert.equal(joined("reasoning_content"), "Is it hot?");
  assert.equal(joined("content"), "Yes. ");
  const first = deltas.findIndex(({ content }) => content);
  assert.ok(deltas.slice(first).every((delta) => delta.reasoning === undefined));
  assert.ok(!JSON.stringify(events).includes("think>"));
});

Deno.test("include_reasoning: false leaves it out, and the content as it is", async () => {
  await using harness = fakeHarness({ reasoning, answer });
  const body = { ...chat, include_reasoning: false };
  const { choices } = await harness.json(CHAT, body);
  assert.deepEqual(choices[0].message, { role: "assistant", content: "Yes. ", refusal: null });
  assert.ok(!JSON.stringify(await harness.events(CHAT, body)).includes("reasoning"));
});

Deno.test("/generate tells reasoning of messages; prompts are continued as they are", async () => {
  await using harness = fakeHarness({ reasoning, answer });
  const { messages } = chat;
  const { outputs } = await harness.json("/generate", { messages, max_tokens });
  assert.deepEqual([outputs[0].reasoning, outputs[0].text], ["Is it hot?", "Yes. "]);
  const raw = await harness.json("/generate", { prompt: "Hi", max_tokens });
  assert.deepEqual([raw.outputs[0].reasoning, raw.outputs[0].text], [undefined, answer]);
  const text = await harness.json("/v1/completions", { prompt: "Hi", max_tokens });
  assert.equal(text.choices[0].text, answer);
});

Deno.test("logprobs and token ids cover the reasoning too", async () => {
  await using harness = fakeHarness({ reasoning, answer });
  const body = { ...chat, logprobs: true, top_logprobs: 2, return_token_ids: true };
  const { choices } = await harness.json(CHAT, body);
  assert.equal(choices[0].token_ids.length, max_tokens);
  assert.equal(choices[0].logprobs.content.length, max_tokens);
  assert.equal(choices[0].logprobs.content[0].top_logprobs.length, 2);
});

Deno.test("an assistant's reasoning is read by either name", async () => {
  await using harness = fakeHarness({ reasoning });
  const prompts = [];
  for (const said of [{ reasoning: "hm" }, { reasoning_content: "hm" }, { reasoning: null }, {}]) {
    const messages = [{ role: "assistant", content: "Yes", ...said }, ...chat.messages];
    const { prompt_token_ids } = await harness.json(CHAT, {
      messages,
      max_tokens: 1,
      return_token_ids: true,
    });
    prompts.push((await harness.json("/detokenize", { tokens: prompt_token_ids })).prompt);
  }
  const [one, other, none, absent] = prompts;
  assert.match(one!, /assistant: \(hm\) Yes/);
  assert.equal(other, one);
  assert.match(none!, /assistant: Yes/);
  assert.equal(absent, none);
});

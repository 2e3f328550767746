import assert from "node:assert/strict";
import { fakeHarness } from "./harness.ts";

const messages = [{ role: "user", content: "Hi" }];
const tools = [{ type: "function", function: { parameters: { b: 1, a: 2 }, name: "f" } }];
const template = "{{ tools | tojson }} {{ documents | tojson }} {{ enable_thinking }} " +
  "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ m.tool_calls | tojson if m.tool_calls }}" +
  "</>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";

/** That each route which takes conversations makes this prompt of a body. */
async function assertPrompt(expected: string, fields: object, chatFields: object = {}) {
  await using harness = fakeHarness({ template });
  const body = { messages, ...fields };
  const { prompt_token_ids: tokens } = await harness.json("/v1/chat/completions", {
    ...body,
    ...chatFields,
    max_tokens: 1,
    return_token_ids: true,
  });
  assert.equal((await harness.json("/detokenize", { tokens })).prompt, expected);
  const { usage } = await harness.json("/generate", { ...body, max_tokens: 1 });
  assert.equal(usage.prompt_tokens, expected.length);
  assert.deepEqual((await harness.json("/tokenize", body)).tokens, tokens);
}

Deno.test("what is not given is none, and an empty list is nothing", async () => {
  const expected = "null null  <user>Hi</><assistant>";
  await assertPrompt(expected, {});
  const nulls = { tools: null, documents: null, chat_template_kwargs: null };
  await assertPrompt(expected, { ...nulls, continue_final_message: null });
  await assertPrompt(expected, { tools: [], documents: [], chat_template_kwargs: {} });
});

Deno.test("tools, documents and variables reach the template as they were sent", async () => {
  await assertPrompt(
    '[{"type": "function", "function": {"parameters": {"b": 1, "a": 2}, "name": "f"}}] ' +
      '[{"text": "x", "title": "y"}] False <user>Hi</><assistant>',
    {
      tools,
      documents: [{ text: "x", title: "y" }],
      chat_template_kwargs: { enable_thinking: false },
    },
    { tool_choice: "none" },
  );
});

Deno.test("a last message is gone on with, or nothing opened behind it", async () => {
  const said = [...messages, { role: "assistant", content: "So" }];
  const begun = "null null  <user>Hi</><assistant>So";
  await assertPrompt(begun, { messages: said, continue_final_message: true });
  const closed = { messages: said, add_generation_prompt: false };
  await assertPrompt(`${begun}</>`, closed);
});

Deno.test("tool calls in the history are objects in the order in which they were sent", async () => {
  const call = {
    function: { arguments: '{"b": 1, "a": 2}', name: "f" },
    type: "function",
    id: "1",
  };
  await assertPrompt(
    'null null  <assistant>[{"function": {"arguments": {"b": 1, "a": 2}, "name": "f"}, ' +
      '"type": "function", "id": "1"}]</><tool>x</><assistant>',
    {
      messages: [
        { role: "assistant", content: null, tool_calls: [call] },
        { role: "tool", content: "x", tool_call_id: "1" },
      ],
    },
  );
});

import assert from "node:assert/strict";
import { type Conversation, renderConversation } from "../../../engine/conversation/render.ts";
import type { Message } from "../../../engine/types.ts";
import { createChatTemplate } from "../../../model/chat_template.ts";

const tokens = { bosToken: "<s>", eosToken: "</s>" };
const user: Message = { role: "user", content: "hi" };

function rendered(template: string, conversation: Partial<Conversation>) {
  const model = { name: "test", chatTemplate: createChatTemplate(template, tokens) };
  return renderConversation({ messages: [user], ...conversation }, model);
}

function render(template: string, ...messages: Message[]): string {
  return rendered(template, { messages }).text;
}

const PRINTED = "{{ messages | tojson }}";
const PARTS = "{% for m in messages %}{% for part in m.content %}{{ part | tojson }}{% endfor %}" +
  "{{ m.content | length }}{% endfor %}";

Deno.test("tools and documents are none where there are none, as in Transformers", () => {
  assert.equal(render("{{ tools }} {{ documents }} {{ tools is none }}", user), "None None True");
});

Deno.test("the generation prompt is asked for unless a conversation says otherwise", () => {
  assert.equal(render("{{ add_generation_prompt }}", user), "True");
  const { text } = rendered("{{ add_generation_prompt }}", { addGenerationPrompt: false });
  assert.equal(text, "False");
});

Deno.test("parts are lines of a text, or a list for templates that loop over them", () => {
  const parts = {
    role: "user",
    content: [{ type: "text", text: "a" }, { type: "text", text: "b" }],
  };
  assert.equal(render(PRINTED, parts as Message), '[{"role": "user", "content": "a\\nb"}]');
  const [a, b] = ['{"type": "text", "text": "a"}', '{"type": "text", "text": "b"}'];
  assert.equal(render(PARTS, parts as Message), `${a}${b}2`);
  assert.equal(render(PARTS, { role: "user", content: "a" }), `${a}1`);
});

Deno.test("a part that is no text is refused by its type", () => {
  const picture = { role: "user", content: [{ type: "image_url", image_url: {} }] };
  assert.throws(() => render(PRINTED, user, picture as unknown as Message), {
    field: "messages[1].content[0].type",
    message: /must be "text": current value is image_url/,
  });
});

Deno.test("a developer is the system; a role of the caller's own is the caller's text", () => {
  const template = "{% for m in messages %}<|{{ m.role }}|>{% endfor %}";
  const messages = [{ role: "developer", content: "" }, { role: "other", content: "" }];
  const { text, spans } = rendered(template, { messages });
  assert.equal(text, "<|system|><|other|>");
  assert.deepEqual(spans.map(({ start, end }) => text.slice(start, end)), ["other"]);
});

Deno.test("tool calls and what tools answer reach the template as in vLLM", () => {
  const call = (written?: string | null) => ({
    id: "1",
    type: "function",
    function: { name: "f", arguments: written, strict: true },
  });
  const messages: Message[] = [
    {
      role: "assistant",
      content: null,
      tool_calls: [call('{"b": [1], "a": 2}'), call(""), call(null)],
    },
    { role: "tool", content: [{ type: "text", text: "x" }], tool_call_id: "1", name: "f" },
    { role: "assistant", content: "y", tool_calls: [] },
  ];
  const object = (written: string) =>
    `{"id": "1", "type": "function", "function": {"name": "f", "arguments": ${written}, "strict": true}}`;
  assert.equal(
    render(PRINTED, ...messages),
    `[{"role": "assistant", "content": "", "tool_calls": [${object('{"b": [1], "a": 2}')}, ${
      object("{}")
    }, ${object("{}")}]}, {"role": "tool", "content": "x", "tool_call_id": "1", "name": "f"}, ` +
      '{"role": "assistant", "content": "y"}]',
  );
  assert.equal(render(PARTS, ...messages.slice(0, 1)), "0");
  assert.match(render(`${PARTS}{{ messages[1].content }}`, ...messages), /x$/);
  assert.throws(
    () => render(PRINTED, { role: "assistant", tool_calls: [call("{")] }),
    { field: "messages[0].tool_calls[0].function.arguments", message: /must be JSON/ },
  );
});

Deno.test("a message says something, or calls tools", () => {
  const code = "invalid_argument";
  const field = "messages[0].content";
  assert.throws(() => render(PRINTED, { role: "user" }), { code, field });
  assert.throws(() => render(PRINTED, { role: "assistant", content: null }), { code, field });
});

Deno.test("an assistant's reasoning goes by all names that templates read", () => {
  const template =
    "{% for m in messages %}{{ m.reasoning }}{{ m.reasoning_content }}{{ m.thinking }};{% endfor %}";
  assert.equal(
    render(
      template,
      { role: "assistant", content: "", reasoning: "a", reasoning_content: "b" },
      { role: "assistant", content: "", reasoning_content: "c" },
      { role: "user", content: "", reasoning: "d" },
    ),
    "aaa;ccc;;",
  );
});

Deno.test("spans say who wrote what, names and calls too", () => {
  const template = "{% for m in messages %}<{{ m.content }}{{ m.reasoning }}{{ m.name }}" +
    "{{ m.tool_calls | map(attribute='function') | map(attribute='name') | join if m.tool_calls }}>{% endfor %}";
  const { text, spans } = rendered(template, {
    messages: [
      { ...user, name: "n" },
      {
        role: "assistant",
        content: "b",
        reasoning: "c",
        tool_calls: [{ function: { name: "f" } }],
      },
    ],
  });
  assert.equal(text, "<hin><bcf>");
  assert.deepEqual(
    spans.map(({ start, end, origin }) => [text.slice(start, end), origin]),
    [["hin", "caller"], ["bcf", "assistant"]],
  );
});

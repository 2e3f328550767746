import assert from "node:assert/strict";
import { renderConversation, type TemplatesOf } from "../../../engine/conversation/render.ts";
import type { Conversation } from "../../../engine/conversation/types.ts";
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

Deno.test("tools, documents and the caller's own variables reach the template, as the caller's", () => {
  const template =
    "{{ tools[0].b }}{{ documents[0].c }}{{ enable_thinking }} {{ other is defined }}";
  const { text, spans } = rendered(template, {
    tools: [{ b: "B" }],
    documents: [{ c: "C" }],
    chatTemplateKwargs: { enable_thinking: false, unused: "x" },
  });
  assert.equal(text, "BCFalse False");
  assert.deepEqual(spans, [{ start: 0, end: 2, origin: "caller" }]);
  const empty = rendered("{{ tools }}{{ documents }}", { tools: [], documents: [] });
  assert.equal(empty.text, "NoneNone");
});

Deno.test("what a template is given otherwise cannot be its caller's own variable", () => {
  const tokens = ["additional_special_tokens"]
    .concat(["bos", "cls", "eos", "mask", "pad", "sep", "unk"].map((name) => `${name}_token`));
  const others = ["add_generation_prompt", "chat_template", "continue_final_message"]
    .concat("conversation", "documents", "max_length", "messages", "padding")
    .concat("return_assistant_tokens_mask", "return_dict", "return_tensors", "tokenize")
    .concat("tokenizer_kwargs", "tools", "truncation");
  for (const name of [...tokens, ...others]) {
    assert.throws(() => rendered("x", { chatTemplateKwargs: { [name]: "y" } }), {
      code: "invalid_argument",
      field: `chatTemplateKwargs.${name}`,
      message: /must be absent, as chat templates are given it otherwise/,
    });
  }
});

const TURNS = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{{ '\\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}<assistant>{% endif %}";

/** `messages` and the text of the last one. */
function continued(template: string, content: Message["content"], role = "assistant") {
  return rendered(template, { messages: [user, { role, content }], continueFinalMessage: true });
}

Deno.test("a last message that is gone on with ends the text, as in Transformers", () => {
  assert.equal(continued(TURNS, "So ").text, "<user>hi</>\n<assistant>So ");
  const trimmed = TURNS.replace("m.content", "m.content | trim");
  assert.equal(continued(trimmed, " So ").text, "<user>hi</>\n<assistant>So");
  assert.equal(continued(TURNS, "", "user").text, "<user>hi</>\n<user>");
  const parts = [{ type: "text", text: "a" }, { type: "text", text: "b" }] as const;
  assert.equal(continued(TURNS, parts).text, "<user>hi</>\n<assistant>a\nb");
  const loop =
    "{% for m in messages %}{% for p in m.content %}[{{ p.text }}]{% endfor %}{% endfor %}";
  assert.equal(continued(loop, parts).text, "[hi][a][b");
});

Deno.test("spans of a text that is gone on with end where it does", () => {
  const { text, spans } = continued("{{ messages[1].content | trim }}>", "So ");
  assert.equal(text, "So");
  assert.deepEqual(spans, [{ start: 0, end: 2, origin: "assistant" }]);
});

Deno.test("a last message cannot be gone on with where the template changes it, or it has no text", () => {
  const field = "messages";
  assert.throws(() => continued("{{ messages[0].content }}", "So"), {
    field,
    message: /leaves as it is/,
  });
  const cleaned = "{% for m in messages %}{{ m.content.split('</think>')[-1] }}{% endfor %}";
  assert.throws(() => continued(cleaned, "<think>a</think>b"), {
    field,
    message: /leaves as it is/,
  });
  const messages: Message[] = [{ role: "assistant", tool_calls: [{ function: { name: "f" } }] }];
  const loop =
    "{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}";
  assert.throws(
    () => rendered(loop, { messages, continueFinalMessage: true }),
    { field, message: /end with a text to go on with/ },
  );
});

Deno.test("a last message is gone on with or answered, not both", () => {
  const both = { addGenerationPrompt: true, continueFinalMessage: true };
  assert.throws(() => rendered(TURNS, both), { field: "addGenerationPrompt", message: /be false/ });
  assert.equal(rendered(TURNS, { ...both, addGenerationPrompt: false }).text, "<user>hi");
  assert.equal(
    rendered(TURNS, { ...both, continueFinalMessage: false }).text,
    "<user>hi</>\n<assistant>",
  );
});

Deno.test("a last message that is gone on with may have opened the reasoning", () => {
  const template = `${TURNS}{# <think> #}`;
  const isOpen = (content: string) => continued(template, content).reasoning?.isOpen;
  assert.equal(isOpen("<think>hm"), true);
  assert.equal(isOpen("<think>hm</think>So"), false);
  assert.equal(isOpen("So"), false);
  assert.equal(continued(TURNS, "<think>").reasoning, undefined);
});

Deno.test("tools are rendered by the template for them, where the model has one", () => {
  const template = (text: string) => createChatTemplate(text, tokens);
  const model = {
    name: "test",
    chatTemplate: template("default"),
    toolUseTemplate: template("tools"),
  };
  const of = (fields: Partial<Conversation>, templates: TemplatesOf = model) =>
    renderConversation({ messages: [user], ...fields }, templates).text;
  assert.equal(of({}), "default");
  assert.equal(of({ tools: [] }), "default");
  assert.equal(of({ tools: [{}] }), "tools");
  assert.equal(of({ tools: [{}] }, { ...model, toolUseTemplate: undefined }), "default");
  const alone = { ...model, chatTemplate: undefined };
  assert.equal(of({ tools: [{}] }, alone), "tools");
  assert.throws(() => of({}, alone), { field: "messages", message: /carries no chat template/ });
});

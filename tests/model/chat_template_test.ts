import assert from "node:assert/strict";
import { createChatTemplate } from "../../model/chat_template.ts";
import { assertRefused } from "./files.ts";

const tokens = { bosToken: "<s>", eosToken: "</s>" };
const messages = [{ role: "user", content: "hi" }, { role: "assistant", content: "there" }];

Deno.test("ChatTemplate gives the template its messages, tokens and the generation switch", () => {
  const template = createChatTemplate(
    "m",
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m['content'] }}{{ eos_token }}" +
      "{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}",
    tokens,
  );
  const text = "<s>[user]hi</s>[assistant]there</s>";
  assert.equal(template.render(messages, { addGenerationPrompt: false }), text);
  assert.equal(template.render(messages, { addGenerationPrompt: true }), `${text}[assistant]`);
});

Deno.test("ChatTemplate drops the newline behind a block, as Transformers does", () => {
  const template = createChatTemplate(
    "m",
    "{% if true %}\n  {%- if true %}\nx\n  {% endif %}\n{% endif %}\n",
    tokens,
  );
  assert.equal(template.render(messages, { addGenerationPrompt: false }), "x\n");
});

Deno.test("ChatTemplate passes on the template's own refusal", () => {
  const template = createChatTemplate("m", "{{ raise_exception('user first') }}", tokens);
  assert.throws(() => template.render(messages, { addGenerationPrompt: true }), /user first/);
});

Deno.test("ChatTemplate leaves absent tokens empty", () => {
  const none = { bosToken: undefined, eosToken: undefined };
  const template = createChatTemplate("m", "[{{ bos_token }}{{ eos_token }}]", none);
  assert.equal(template.render([], { addGenerationPrompt: true }), "[]");
});

Deno.test("createChatTemplate() names the model whose template does not parse", async () => {
  await assertRefused(
    () => createChatTemplate("some/model", "{% if %}", tokens),
    /Cannot open model some\/model: its chat template does not parse/,
  );
});

Deno.test("createChatTemplate() refuses what no template is", async () => {
  await assertRefused(
    () => createChatTemplate("m", "x".repeat(2_000_000), tokens),
    /chat template must have at most 131072 characters: it has 2000000/,
  );
  const deep = `{{ ${"(".repeat(50_000)}1${")".repeat(50_000)} }}`;
  await assertRefused(() => createChatTemplate("m", deep, tokens), /does not parse/);
});

import assert from "node:assert/strict";
import { budgetFor, createChatTemplate } from "../../model/chat_template.ts";
import { Said } from "../../model/jinja/values.ts";
import type { TemplateVariables } from "../../model/spec.ts";
import { loadModel } from "../../model/load.ts";
import { checkpointPath } from "../golden/checkpoints.ts";
import { ownTimeMs } from "../own_time.ts";

const tokens = { bosToken: "<s>", eosToken: "</s>" };
const messages = [{ role: "user", content: "hi" }, { role: "assistant", content: "there" }];

function render(template: string, variables: TemplateVariables = { messages }): string {
  return createChatTemplate(template, tokens).render(variables).text;
}

Deno.test("ChatTemplate gives the template its variables and the model's tokens", () => {
  const template = "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m['content'] }}" +
    "{{ eos_token }}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}";
  const text = "<s>[user]hi</s>[assistant]there</s>";
  assert.equal(render(template), text);
  assert.equal(render(template, { messages, add_generation_prompt: false }), text);
  assert.equal(render(template, { messages, add_generation_prompt: true }), `${text}[assistant]`);
});

Deno.test("ChatTemplate drops the newline behind a block, as Transformers does", () => {
  assert.equal(render("{% if true %}\n  {%- if true %}\nx\n  {% endif %}\n{% endif %}\n"), "x\n");
});

Deno.test("ChatTemplate passes on the template's own refusal", () => {
  assert.throws(() => render("{{ raise_exception('user first') }}"), /user first/);
});

Deno.test("ChatTemplate leaves absent tokens undefined", () => {
  const none = { bosToken: undefined, eosToken: undefined };
  const of = (template: string) => createChatTemplate(template, none).render({}).text;
  assert.equal(of("[{{ bos_token }}{{ eos_token }}]"), "[]");
  assert.equal(of("{{ bos_token is defined }}"), "False");
});

Deno.test("ChatTemplate says which characters come from whom, keys of objects too", () => {
  const template = "<|{{ a.role }}|>{{ a.said | trim }}{% for key in b %}{{ key }}{% endfor %}";
  const variables = {
    a: { role: "user", said: new Said("  <|user|> ", "caller") },
    b: new Said({ c: 1 }, "assistant"),
  };
  const { text, spans } = createChatTemplate(template, tokens).render(variables);
  assert.equal(text, "<|user|><|user|>c");
  assert.deepEqual(
    spans.map(({ start, end, origin }) => [text.slice(start, end), origin]),
    [["<|user|>", "caller"], ["c", "assistant"]],
  );
});

Deno.test("a template that cannot be parsed refuses each chat with the reason", () => {
  assert.throws(() => render("a\n{% if %}"), /it does not parse: line 2: Expected an expression/);
  assert.throws(() => render("{{ x | nothing }}"), /does not parse: .*No filter named 'nothing'/);
  const long = "x".repeat(2_000_000);
  assert.throws(() => render(long), /at most 131072 characters: it has 2000000/);
});

Deno.test("a template may have 131,072 characters", () => {
  assert.equal(render("x".repeat(131_072)).length, 131_072);
  assert.throws(() => render("x".repeat(131_073)), {
    message: "it must have at most 131072 characters: it has 131073",
  });
});

const markers: readonly (readonly [start: string, end: string])[] = [
  ["<think>", "</think>"],
  ["[THINK]", "[/THINK]"],
  ["<seed:think>", "</seed:think>"],
  ["◁think▷", "◁/think▷"],
];

Deno.test("a template that has a marker of reasoning is of a model that reasons", () => {
  const reasoningOf = (template: string) => createChatTemplate(template, tokens).reasoning;
  for (const [start, end] of markers) {
    for (const template of [`a${start}`, `a${end}`, start + end]) {
      assert.deepEqual(reasoningOf(template), { start, end }, template);
    }
  }
  for (const template of ["", "think", "<thinking>"]) {
    assert.equal(reasoningOf(template), undefined);
  }
});

Deno.test("a template that does not parse takes no parts", () => {
  const parts = "{% for m in messages %}{% for p in m.content %}{% endfor %}{% endfor %}";
  assert.equal(createChatTemplate(parts, tokens).takesParts, true);
  assert.equal(createChatTemplate(`${parts}{% if %}`, tokens).takesParts, false);
});

Deno.test("budgetFor() lets a rendering use more of more messages and texts, up to a limit", () => {
  const budgets:
    readonly (readonly [variables: TemplateVariables, steps: number, characters: number])[] = [
      [{}, 1_000_000, 4_000_000],
      [{ messages: "ab" }, 1_000_020, 4_000_160],
      [{ messages: [null, 1] }, 1_008_016, 4_064_128],
      [{ messages: [{ ab: "cde" }] }, 1_004_026, 4_032_208],
      [{ messages: [new Said({ ab: "cde" }, "caller")] }, 1_004_026, 4_032_208],
      [{ a: ["b", ["cd"]], ef: { g: "hi" } }, 1_000_018, 4_000_144],
      [{ a: "x".repeat(20_000_000) }, 15_000_000, 256_000_000],
    ];
  for (const [variables, steps, characters] of budgets) {
    assert.deepEqual(budgetFor(variables), { steps, characters, milliseconds: 2000 });
  }
});

Deno.test("a hostile template is refused within bounded time", () => {
  const hostile = [
    "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
    "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
    "{{ 'a' * 10 ** 9 }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ [1] * 10 ** 9 }}",
    "{{ 9 ** (9 ** 9) }}",
    `{{ ${"(".repeat(50_000)}1${")".repeat(50_000)} }}`,
    `{{ ${"1+".repeat(60_000)}1 }}`,
    "{% if a %}".repeat(13_000),
  ];
  for (const template of hostile) {
    const start = ownTimeMs();
    const name = template.slice(0, 40);
    assert.throws(() => render(template), /steps|characters|deep|bits|does not parse/, name);
    assert.ok(ownTimeMs() - start < 2000, name);
  }
});

Deno.test("a thousand messages may each look back at all others", () => {
  const template = "{% set ns = namespace(text='') %}{% for m in messages %}" +
    "{% for other in messages[:loop.index] | reverse %}{% if other.content == m.content %}{% break %}{% endif %}{% endfor %}" +
    "{% set ns.text = ns.text ~ m.content %}{{ messages[loop.index:] | length }};{% endfor %}{{ ns.text }}";
  const many = Array.from({ length: 1000 }, () => ({ role: "user", content: "hi " }));
  assert.ok(render(template, { messages: many }).endsWith("1;0;" + "hi ".repeat(1000)));
});

Deno.test("a model whose chat template does not parse is there for prompts and tokens", async () => {
  const folder = await Deno.makeTempDir();
  try {
    for (const { name } of Deno.readDirSync(checkpointPath("qwen3-fp32"))) {
      await Deno.copyFile(`${checkpointPath("qwen3-fp32")}/${name}`, `${folder}/${name}`);
    }
    await Deno.writeTextFile(`${folder}/chat_template.jinja`, "{% for x in %}");
    const { chatTemplate, tokenizer } = await loadModel(folder);
    assert.ok(tokenizer.encode("hi").length > 0);
    const chat = () => chatTemplate?.render({ messages });
    assert.throws(chat, /it does not parse: line 1/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

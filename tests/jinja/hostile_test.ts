/**
 * Templates and messages that try to take time or memory without paying: each is refused, or done, soon.
 *
 * @module
 */
import assert from "node:assert/strict";
import { TemplateError } from "../../model/jinja/run.ts";
import { budgetFor } from "../../model/chat_template.ts";
import { Template } from "../../model/jinja/template.ts";
import { fromJson, Said } from "../../model/jinja/values.ts";
import type { TemplateVariables } from "../../model/spec.ts";
import { ownTimeMs } from "../own_time.ts";

/** Without the clock: what it uses has to stop it, on a slow machine too. */
function render(template: string | Template, messages: unknown): string {
  const variables = { messages };
  const budget = { ...budgetFor(variables as TemplateVariables), milliseconds: Infinity };
  const values = new Map([["messages", fromJson(messages)]]);
  const parsed = typeof template === "string" ? new Template(template) : template;
  return parsed.render(values, { budget, now: new Date() }).text;
}

/** Of the thread's own time. The slowest takes 1 s, and several times that where coverage is counted. */
const SOON_MS = 20_000;

const said = (content: string) => [{ role: "user", content: new Said(content, "caller") }];

/** Sets `ns.x` anew again and again. */
const again = (times: number, first: string, next: string, then: string) =>
  `{% set ns = namespace(x=${first}) %}{% for i in range(${times}) %}` +
  `{% set ns.x = ${next} %}{% endfor %}${then}`;

const c = "messages[0].content";

/** By what they attack: a template, and what the caller says. */
const HOSTILE: Readonly<Record<string, readonly (readonly [template: string, said?: string])[]>> = {
  "what is written": [
    [again(28, `${c} ~ '.'`, "'%s%s' % (ns.x, ns.x)", "{{ ns.x | first }}")],
    [again(28, `${c} ~ '.'`, "'{}{}'.format(ns.x, ns.x)", "{{ ns.x | first }}")],
    [again(28, `${c} ~ '.'`, "'%s%s' | format(ns.x, ns.x)", "{{ ns.x | first }}")],
    ["{{ range(100) | list | tojson(separators=('a' * 3000000, ':')) | length }}"],
    ["{% set a = 'a' * 900000 %}{% for i in range(500) %}{% filter string %}{{ a }}{% endfilter %}{% endfor %}"],
    [
      "{% macro m() %}{{ caller() }}{% endmacro %}{% set a = 'a' * 900000 %}" +
      "{% for i in range(500) %}{% call m() %}{{ a }}{% endcall %}{% endfor %}",
    ],
    [`{{ ${c}.replace('<', ${c}[:1]) | length }}`, "<a".repeat(1 << 20)],
    [
      `{% set x = ${c}.replace('<', '-') %}{% for i in range(20000) %}` +
      "{{ x[i * 50:i * 50 + 9] }}{% endfor %}",
      "<a".repeat(1 << 19),
    ],
  ],
  "what holds others": [
    [`{% for i in range(10000) %}{% set x = [${"1,".repeat(5000)}] %}{% endfor %}`],
    [`{% for i in range(10000) %}{% set x = {${"1:1,".repeat(5000)}} %}{% endfor %}`],
    [`{% for i in range(10000) %}{% set x = cycler(${"1,".repeat(5000)}1) %}{% endfor %}`],
    [`{% for i in range(90000) %}{{ ${"0 or ".repeat(150)}0 }}{% endfor %}`],
    [`{% for i in range(90000) %}{% if 0 %}${"{% elif 0 %}".repeat(9000)}{% endif %}{% endfor %}`],
    ...["{{ {}[ns.t] }}", "{% set d = {ns.t: 1} %}", "{{ ns.t | pprint }}", "{{ ns.t }}"].map(
      (then): [string] => [
        "{% set ns = namespace(t=('a',)) %}{% for i in range(60) %}{% set ns.t = (ns.t, ns.t) %}" +
        `{% endfor %}${then}`,
      ],
    ),
    [
      "{% set ns = namespace(t=('a',)) %}{% for i in range(60) %}{% set ns.t = (ns.t, '\\\\') %}" +
      "{% endfor %}{{ {ns.t: 1}[ns.t] }}",
    ],
    [again(100, "'a' * 900000", "ns.x ~ 'a'", "{{ {}[ns.x] }}")],
    [again(90000, `${c}`, "ns.x ~ ns.x | first", "{{ ns.x | length }}"), "a".repeat(8 << 20)],
    [
      again(90000, `${c}`, "ns.x ~ 'a' if not {}[ns.x] else 1", "{{ ns.x | length }}"),
      "a".repeat(8 << 20),
    ],
    [`{{ ${c} | list | length }}`, "a".repeat(8 << 20)],
    [`{{ ${c}[::-1] | length }}`, "a".repeat(8 << 20)],
    [`{% for i in range(90000) %}{{ ${c} | random }}{% endfor %}`, "a".repeat(8 << 20)],
    [`{% for i in range(90000) %}{{ ${c} is lower }}{% endfor %}`, "a".repeat(1 << 20)],
  ],
  "what is taken apart and searched": [
    [`{{ ${c}.split('\\n') | length }}`, "\n".repeat(4 << 20)],
    [`{{ ${c}.splitlines() | length }}`, "\n".repeat(4 << 20)],
    [`{{ ${c}.rsplit() | length }}`, "a ".repeat(4 << 20)],
    [`{{ ${c}.replace('<', '&lt;') | length }}`, "<".repeat(8 << 20)],
    [`{{ ${c} | title | length }}`, "a ".repeat(1 << 20)],
    [`{{ ${c} | urlencode | length }}`, "界".repeat(2 << 20)],
    [`{{ ${c} | striptags | length }}`, "a ".repeat(1 << 20)],
    [`{{ ${c} | wordwrap(79) | length }}`, "界".repeat(1 << 20)],
    [`{{ ${c}.isupper() }}{{ ${c}.isprintable() }}`, "A".repeat(8 << 20)],
    [`{{ ${c}.expandtabs() | length }}`, "a\tb".repeat(1 << 18)],
    ...[
      "rfind(w)",
      "find(w)",
      "rsplit(w)",
      "split(w)",
      "rpartition(w)",
      "replace(w, 'b')",
      "count(w)",
    ]
      .flatMap((call): [string, string][] =>
        ["'b' ~ 'a' * 300000", "'a' * 300000 ~ 'b'", "'a' * 300000 ~ 'b' ~ 'a' * 300000"].map(
          (w) => [`{% set w = ${w} %}{{ ${c}.${call} | string | length }}`, "a".repeat(4 << 20)],
        )
      ),
    [`{{ 'a' * 300000 ~ 'b' in ${c} }}`, "a".repeat(4 << 20)],
    [`{% for i in range(90000) %}{{ 'a'.strip(${c}) }}{% endfor %}`, "a".repeat(4 << 20)],
    [`{% for i in range(90000) %}{{ 'a' | trim(${c}) }}{% endfor %}`, "a".repeat(4 << 20)],
    [`{% for i in range(90000) %}{{ ${c} | center(9) | length }}{% endfor %}`, "a".repeat(1 << 20)],
    [`{% for i in range(90000) %}{{ 'a'.startswith((${c}, ${c})) }}{% endfor %}`],
    [
      `{% for i in range(90000) %}{{ [{}] | map(attribute=${c}) | list }}{% endfor %}`,
      "a".repeat(1 << 20),
    ],
  ],
  "numbers and formats": [
    ["{{ '{:020000,}'.format(1) | length }}"],
    ["{{ '{:0900000,}'.format(1) | length }}"],
    ["{% for i in range(90000) %}{{ 9 ** 4000 // 7 ** 2000 }}{% endfor %}"],
    ["{% set a = 9 ** 4000 %}{% for i in range(90000) %}{{ a * 9 % 7 }}{% endfor %}"],
    ["{% set a = 9 ** 4000 %}{% for i in range(90000) %}{{ a }}{{ [a] | tojson }}{{ '%d' % a }}{% endfor %}"],
    ["{% set a = '7' * 4300 %}{% for i in range(90000) %}{{ a | int is odd }}{% endfor %}"],
    ["{% for i in range(90000) %}{{ 5 | round(-4000) }}{% endfor %}"],
    ["{% set w = '(' * 2000 %}{% for i in range(9000) %}{{ w | urlize }}{% endfor %}"],
    ["{% set w = 'a.' * 1000 %}{% for i in range(9000) %}{{ w | urlize }}{% endfor %}"],
  ],
  "scopes with many names": [
    [`{% set x = 1 %}${Array.from({ length: 4000 }, (_, i) => `{% set a${i} = 1 %}`).join("")}${
      Array.from(
        { length: 800 },
        (_, i) => `{% for i in x %}{% block b${i} scoped %}{% endblock %}{% endfor %}`,
      ).join("")
    }`.replaceAll("in x", "in [1]")],
    [`{% for i in range(90000) %}{% if 1 %}${
      Array.from({ length: 4000 }, (_, i) => `{{ a${i} }}`).join("")
    }{% endif %}{% endfor %}`],
    [`{% macro m() %}{% if 0 %}${
      Array.from({ length: 3000 }, (_, i) => `{% set a${i} = 1 %}`).join("")
    }{% endif %}{% endmacro %}{% for i in range(90000) %}{{ m() }}{% endfor %}`],
  ],
};

for (const [what, templates] of Object.entries(HOSTILE)) {
  Deno.test(`a template is refused or rendered soon: ${what}`, async (t) => {
    for (const [template, text = "hi"] of templates) {
      const name = template.slice(0, 150);
      await t.step(name, () => {
        const start = ownTimeMs();
        const parsed = new Template(template);
        try {
          render(parsed, said(text));
        } catch (error) {
          assert.ok(error instanceof TemplateError, String(error));
        }
        assert.ok(ownTimeMs() - start < SOON_MS);
      });
    }
  });
}

const many = (count: number, content: string) =>
  Array.from({ length: count }, (_, i) => ({
    role: new Said(i % 2 === 0 ? "user" : "assistant", "caller"),
    content: new Said(content, i % 2 === 0 ? "caller" : "assistant"),
  }));

const CHATML =
  "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] | trim + " +
  "'<|im_end|>' + '\n' }}{% endfor %}";

Deno.test("however many messages there are, a template that goes over all for each ends soon", () => {
  const template = "{% for m in messages %}{% for other in messages %}" +
    "{% if other.content == m.role %}{% endif %}{% endfor %}{% endfor %}";
  const start = ownTimeMs();
  assert.throws(() => render(template, many(20_000, "hi")), /more than 15000000 steps/);
  assert.ok(ownTimeMs() - start < SOON_MS);
});

Deno.test("long chats and long messages render", () => {
  const collected = "{% set ns = namespace(text='') %}{% for m in messages %}" +
    "{% set ns.text = ns.text ~ '<|' ~ m.role ~ '|>' ~ m.content %}{% endfor %}{{ ns.text }}";
  for (const template of [CHATML, collected]) {
    assert.ok(render(template, many(1000, "short")).length > 5000);
    assert.ok(render(template, many(2048, "words ".repeat(500))).length > 6_000_000);
    assert.ok(render(template, many(1, "words ".repeat(1 << 20))).length > 6_000_000);
  }
  const thought =
    "{{ messages[0].content.split('</think>')[-1].lstrip('\n') | replace('q', 'p') }}";
  assert.equal(render(thought, many(1, "a".repeat(8 << 20))).length, 8 << 20);
});

Deno.test("what bills too little for its time is stopped by the clock", () => {
  const loop = "{% for a in range(100000) %}{% endfor %}";
  const template = new Template(`{% for a in range(100000) %}${loop}{% endfor %}`);
  const budget = { steps: 1e12, characters: 1e12, milliseconds: 200 };
  assert.throws(() => template.render(new Map(), { budget, now: new Date() }), /more than 200 ms/);
});

/**
 * Templates against what jinja2 said of them: `deno task jinja --store` writes it anew.
 *
 * @module
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { Template } from "../../model/jinja/template.ts";
import { fromJson, type Value } from "../../model/jinja/values.ts";
import { casesOf, digestOf, type Outcome, render, templateNames } from "./cases.ts";

const read = (name: string) => JSON.parse(Deno.readTextFileSync(new URL(name, import.meta.url)));

/** What is refused though jinja2 renders it: each names what it has not. */
const UNSUPPORTED = /not supported|subscriptable by a slice/;

Deno.test("snippets render as with jinja2, or are refused by name", () => {
  const { variables, cases } = read("snippets.json");
  assert.ok(cases.length > 1000);
  let unsupported = 0;
  for (const { template, text, refused } of cases as ({ template: string } & Outcome)[]) {
    const ours = render({ template, variables });
    if (text !== undefined && ours.refused !== undefined && UNSUPPORTED.test(ours.refused)) {
      unsupported++;
    } else assert.equal(ours.text, text, `${template}: ${ours.refused ?? refused}`);
  }
  assert.ok(unsupported < cases.length / 50, `${unsupported} are not supported`);
});

const names = templateNames();
Deno.test({
  name: "real templates render as with jinja2",
  ignore: names.length === 0, // `deno task jinja` fetches them
  async fn() {
    const digests = read("templates.json");
    assert.deepEqual(names, Object.keys(digests));
    for (const name of names) {
      for (const [i, one] of casesOf(name).entries()) {
        const ours = render(one);
        assert.equal(await digestOf(ours), digests[name][i], `${one.name}: ${ours.refused}`);
      }
    }
  },
});

// --- Who wrote what -------------------------------------------------------------------------------

function spansOf(
  template: string,
  variables: Readonly<Record<string, unknown>>,
): [string, string][] {
  const values = Object.entries(variables)
    .map(([name, value]): [string, Value] => [name, fromJson(value, "caller")]);
  const { text, spans } = new Template(template).render(new Map(values), {
    budget: { steps: 1_000_000, characters: 1_000_000, milliseconds: Infinity },
    now: new Date(),
  });
  return spans.map(({ start, end, origin }) => [text.slice(start, end), origin]);
}

Deno.test("spans follow a text through what is done to it", () => {
  const follow = (expression: string, ...parts: string[]) => {
    const given = { x: " a<b ", list: ["p", "q"], tool: { k: "v\n" } };
    const expected = parts.map((part) => [part, "caller"]);
    assert.deepEqual(spansOf(`[{{ ${expression} }}]`, given), expected, expression);
  };
  follow("x", " a<b ");
  follow("'lit' + x.strip() + 'lit'", "a<b");
  follow("x.split('<')[1] ~ '|' ~ x[1:2]", "b ", "a");
  follow("x.replace('<', '-')", " a", "b ");
  follow("'x-y'.replace('-', x)", " a<b ");
  follow("x | upper | trim | e", "A&lt;B");
  follow("list | join(', ')", "p", "q");
  follow("list", "p", "q");
  follow("tool | tojson", "k", "v\\n");
  follow("tool.items() | list", "k", "v\\n");
  follow("'%s/%5s|' % (x | trim, list[0])", "a<b", "p");
  follow("'{}{:>4}'.format(list[0], list[1])", "p", "q");
  follow("x * 2", " a<b  a<b ");
  follow("x[::-1]", " b<a ");
  follow("x | indent(2, true) | length");
  follow("'a'.ljust(3, list[0]) ~ 'b'.center(4, list[1])", "ppq", "qq");
  follow("('{:' ~ list[0] ~ '>3}').format('a') ~ '{:{}>2}'.format(1, list[1])", "pp", "q1");
  follow("('{{' ~ x ~ '}}').format() ~ x.replace('<', '%%') % ()", " a<b ", " a", "b ");
  follow("strftime_now(list[0] ~ '%n')", "p\n");
  follow("dict(**tool)", "k", "v\\n");
  follow(
    "'www.a.com' | urlize(rel=list[0])",
    '<a href="https://www.a.com" rel="noopener p">www.a.com</a>',
  );
  follow("'only ours' | replace('o', 'a')");
});

Deno.test("what jinja2 refuses of functions and targets is refused, and unknown codes of dates stay", () => {
  const { text, refused } = render({
    template: "{{ strftime_now('%Q|%!|%-|%%E|%-d|%') }}",
    variables: {},
  });
  assert.equal(text, "%Q|%!|%-|%E|29|%", refused);
  for (
    const template of [
      "{% set ns = namespace() %}{% set ns, ns.a = 1, 2 %}",
      "{% set j = joiner() %}{% call j() %}{% endcall %}",
      "{{ cycler(1, 2).next(3) }}",
      "{{ cycler(1, 2).reset(a=3) }}",
    ]
  ) assert.ok(render({ template, variables: {} }).refused, template);
});

Deno.test("no character of a caller's ever passes for the template's own", () => {
  // Characters that only the caller writes, so that each in the output must be in a span.
  const mine = fc.stringMatching(/^[⟦-⟫ ]{0,12}$/);
  const step = fc.constantFrom(
    ...[
      "|trim",
      "|upper",
      "|title",
      "|capitalize",
      "|reverse",
      "|e",
      "|safe",
      "|indent(2)",
      "|string",
    ],
    ...["|replace('⟦', 'z')", "|replace(' ', '--')", "|truncate(6)", "|center(20)", "|wordwrap(4)"],
    ...[
      "|list|join('.')",
      "|tojson",
      "|batch(2)|list|string",
      "|urlencode",
      "|striptags",
      "|pprint",
    ],
    ...["[1:]", "[::2]", "[::-1]", "[0]", ".strip('⟦')", ".split()|join('/')", ".split('⟧')|last"],
    ...[".partition(' ')|join", ".zfill(9)", ".ljust(9)", ".expandtabs()", ".splitlines()|first"],
    ...[".join('ab')", ".removeprefix('⟦')", ".title()", ".rsplit(' ', 1)|string", "|format('a')"],
    ...[".replace('', '.')", "|default('d')", "|sort|join", "|unique|join", "|map('upper')|join"],
  );
  fc.assert(fc.property(mine, fc.array(step, { maxLength: 5 }), (text, steps) => {
    const given = { x: `⟦${text}` };
    const template = `<|a|>{{ ('k' ~ x)${steps.join("")} }}<|b|>`;
    const values = new Map([["x", fromJson(given.x, "caller")]]);
    const options = {
      budget: { steps: 1_000_000, characters: 1_000_000, milliseconds: Infinity },
      now: new Date(),
    };
    let rendered;
    try {
      rendered = new Template(template).render(values, options);
    } catch {
      return; // a value of another kind has no such method
    }
    const covered = new Set<number>();
    for (const { start, end } of rendered.spans) {
      for (let at = start; at < end; at++) covered.add(at);
    }
    for (const [at, unit] of [...rendered.text].entries()) {
      if (/[⟦-⟫]/.test(unit)) assert.ok(covered.has(at), `${template} ${given.x} at ${at}`);
    }
    assert.ok(!covered.has(0) && !covered.has(rendered.text.length - 1), "the template's own ends");
  }));
});

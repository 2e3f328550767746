import assert from "node:assert/strict";
import { takesParts } from "../../model/content_format.ts";
import { parse } from "../../model/jinja/parser.ts";

const loop = (body: string) => `{% for message in messages %}${body}{% endfor %}`;
const items = (content: string) => `{% for item in ${content} %}{{ item.text }}{% endfor %}`;

/** As vLLM's `_detect_content_format` says. */
const TEMPLATES: readonly (readonly [template: string, takesParts: boolean])[] = [
  [loop("{{ message.content }}"), false],
  [loop("{{ message['content'] | trim }}"), false],
  [loop("{% if message.content is iterable %}{{ message.content[0].text }}{% endif %}"), false],
  [loop(items("message['content']")), true],
  [loop(items("message.content")), true],
  [loop(items("message.content | selectattr('type', 'equalto', 'text')")), true],
  [loop(items("message.content[1:]")), true],
  [loop(items("message.parts")), false],
  [loop(items("message.content.parts")), false],
  [loop("{% for a, b in message.content %}{% endfor %}"), false],
  [`{% for m in messages[1:] %}${items("m.content")}{% endfor %}`, true],
  [
    `{% set all = messages[1:] %}{% set rest = all %}{% for m in rest %}${
      items("m.content")
    }{% endfor %}`,
    true,
  ],
  [`{% set a = b %}{% set b = a %}{% for m in a %}${items("m.content")}{% endfor %}`, false],
  [`{% for m in others %}${items("m.content")}{% endfor %}`, false],
  [items("content"), true],
  [loop(`{% set content = message.content %}${items("content")}`), true],
  [`{% macro say(content) %}${items("content")}{% endmacro %}` + loop("{{ say(message) }}"), false],
  [`{% macro say(x) %}${items("x")}{% endmacro %}` + loop("{{ say(message.content) }}"), true],
  [
    `{% macro say(a, x) %}${items("x")}{% endmacro %}` + loop("{{ say(1, x=message.content) }}"),
    true,
  ],
  [
    `{% macro say(a, x) %}${items("x")}{% endmacro %}` + loop("{{ say(message.content, 1) }}"),
    false,
  ],
];

Deno.test("a template takes parts where it loops over the content of a message", () => {
  for (const [template, expected] of TEMPLATES) {
    assert.equal(takesParts(parse(template)), expected, template);
  }
});

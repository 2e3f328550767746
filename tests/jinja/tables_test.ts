/**
 * Systematic tables: texts are jinja2's, words of refusals are ours. `deno task jinja --store` writes them
 * anew.
 *
 * @module
 */
import assert from "node:assert/strict";
import { Run } from "../../model/jinja/run.ts";
import { BUILTINS } from "../../model/jinja/builtins.ts";
import { strftime } from "../../model/jinja/strftime.ts";
import { filledIn, renderAll, type Table } from "./tables.ts";

const read = (name: string) => JSON.parse(Deno.readTextFileSync(new URL(name, import.meta.url)));

const { variables } = read("snippets.json");

Deno.test("each kind of value in each place gives what jinja2 gives, or is refused in these words", () => {
  const tables: Record<string, Table> = read("tables.json");
  let unlike = 0;
  for (const [template, { texts, refused, stricter, use }] of Object.entries(tables)) {
    const words = [...Object.entries(refused), ...Object.entries(stricter)].flatMap(
      ([words, values]) => values.map((value) => [value, words] as const),
    );
    const values = [...Object.keys(texts), ...words.map(([value]) => value)];
    const [ours, used] = renderAll(template, values, variables);
    for (const [value, text] of Object.entries(texts)) {
      const { text: our, refused } = ours.get(value)!;
      assert.equal(our, text, `${filledIn(template, value)}: ${refused}`);
    }
    for (const [value, message] of words) {
      assert.equal(ours.get(value)!.refused, message, filledIn(template, value));
    }
    assert.deepEqual(used, use, template);
    unlike += Object.values(stricter).flat().length;
  }
  assert.ok(unlike < 400, `${unlike} are refused that jinja2 renders`);
});

Deno.test("each code and flag of a date gives what Python gives", () => {
  const dates: Record<string, Record<string, string>> = read("dates.json");
  const budget = { steps: 1e6, characters: 1e6, milliseconds: Infinity };
  const made = (code: string, date: Date) => strftime(new Run(budget, date, BUILTINS), code, date);
  for (const [date, texts] of Object.entries(dates)) {
    for (const [code, text] of Object.entries(texts)) {
      assert.equal(made(`%${code}`, new Date(date)), text, `%${code} of ${date}`);
    }
  }
  assert.equal(made("%s", new Date(1_700_000_000_999)), "1700000000"); // whatever the time zone
});

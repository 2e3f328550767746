import assert from "node:assert/strict";
import {
  boundsOf,
  defaultsOf,
  describeField,
  entry,
  type FieldKind,
  snakeCase,
  wireName,
} from "../../ffi/field.ts";
import { brokenRule } from "../../ffi/field_rule.ts";
import { ruleSentence } from "../../ffi/errors.ts";

const fields = {
  one: entry({ kind: "integer", min: 1, default: 3 }, "One"),
  twoWords: entry({ kind: "text", shown: "many" }, "Beside `one` and `otherOne`"),
  off: entry({ kind: "switch", default: false, wire: { name: "is_off" } }, "Off"),
  none: entry({ kind: "texts", default: [] }, "None"),
};

Deno.test("defaultsOf() has what holds where nothing is said", () => {
  assert.deepEqual(defaultsOf(fields), { one: 3, off: false, none: [] });
});

Deno.test("describeField() tells text and default, other entries by their names", () => {
  const rename = (name: string) => `--${name}`;
  assert.equal(describeField(fields.one, rename), "One [3]");
  assert.equal(describeField(fields.off, rename), "Off [false]");
  assert.equal(
    describeField(fields.twoWords, rename),
    "Beside --one and --otherOne [many]",
  );
  assert.equal(describeField({ kind: "seed", doc: "Seed" }, rename), "Seed");
});

Deno.test("names differ by case alone, unless the table says others", () => {
  assert.equal(snakeCase("maxModelLen"), "max_model_len");
  assert.equal(snakeCase("n"), "n");
  assert.equal(wireName("twoWords", fields), "two_words");
  assert.equal(wireName("off", fields), "is_off");
  assert.equal(wireName("notThere", fields), "not_there");
});

Deno.test("boundsOf() knows the largest number of each kind", () => {
  const bounds = (field: Parameters<typeof boundsOf>[0]) => {
    const { min, above, max, whole } = boundsOf(field);
    return [min, above, max, whole];
  };
  assert.deepEqual(bounds({ kind: "number", above: 1 }), [undefined, 1, undefined, false]);
  assert.deepEqual(bounds({ kind: "integer", min: 1 }), [1, undefined, 4_294_967_295, true]);
  assert.deepEqual(bounds({ kind: "integer", min: 1, max: 5 }), [1, undefined, 5, true]);
  assert.deepEqual(bounds({ kind: "bytes", min: 7 }), [
    7,
    undefined,
    Number.MAX_SAFE_INTEGER,
    true,
  ]);
});

/** Of each kind: values that it takes, values that it does not, and the rule that they break. */
const rules: readonly (readonly [
  field: FieldKind,
  good: readonly unknown[],
  bad: readonly unknown[],
  rule: string,
])[] = [
  [{ kind: "number", min: 0, max: 2 }, [0, 0.5, 2], [-0.1, 2.1, NaN, Infinity], "be >= 0 and <= 2"],
  [{ kind: "number", above: 0, max: 1 }, [0.1, 1], [0, 1.1], "be > 0 and <= 1"],
  [{ kind: "number", above: 0 }, [0.1, 1e9], [0, Infinity], "be > 0"],
  [{ kind: "number", max: 1 }, [-1e9, 1], [1.1, -Infinity], "be <= 1"],
  [{ kind: "integer", min: 1, max: 3 }, [1, 3], [0, 4, 1.5], "be an integer >= 1 and <= 3"],
  [
    { kind: "bytes", min: 1 },
    [1, 2 ** 53 - 1],
    [0, 1.5, 2 ** 53],
    "be an integer >= 1 and <= 9007199254740991",
  ],
  [{ kind: "share" }, [0.001, 1], [0, 1.001, NaN], "be above 0 and at most 1"],
  [{ kind: "choice", choices: ["a", 2] }, ["a", 2], ["b", "2"], "be one of a, 2"],
  [
    { kind: "name", forms: ["cpu", "gpu:N"], pattern: /^(cpu|gpu:\d)$/ },
    ["cpu", "gpu:1"],
    ["gpu", 7],
    "be one of cpu, gpu:N",
  ],
];

Deno.test("brokenRule() tells which rule a value breaks", () => {
  for (const [field, good, bad, rule] of rules) {
    for (const value of good) assert.equal(brokenRule(field, value), undefined, rule);
    for (const value of bad) assert.equal(brokenRule(field, value), rule, `${value}`);
  }
  assert.equal(brokenRule({ kind: "text" }, 7), undefined, "it has its rules where it is read");
});

Deno.test("ruleSentence() shows a value where there is one", () => {
  const broken = { field: "a", rule: "be 1" };
  assert.equal(ruleSentence("Cannot do", broken), "Cannot do: a must be 1");
  assert.equal(
    ruleSentence("Cannot do", { ...broken, value: "2" }),
    "Cannot do: a must be 1: current value is 2",
  );
});

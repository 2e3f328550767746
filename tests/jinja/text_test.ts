/**
 * Strings that know who wrote them, and values made of JSON.
 *
 * @module
 */
import assert from "node:assert/strict";
import { BUILTINS } from "../../model/jinja/builtins.ts";
import { find, findLast } from "../../model/jinja/search.ts";
import { Run } from "../../model/jinja/run.ts";
import {
  compareTexts,
  countPoints,
  cut,
  from,
  indexOf,
  isMarkup,
  join,
  madeOf,
  mapped,
  marked,
  offsetOf,
  plain,
  points,
  type Str,
  Text,
  unmarked,
  Writer,
} from "../../model/jinja/text.ts";
import { Dict, Float, fromJson, Said, type Value } from "../../model/jinja/values.ts";

const budget = { steps: 1e6, characters: 1e6, milliseconds: Infinity };
const run = () => new Run(budget, new Date(), BUILTINS);

/** `ab<caller>cd<assistant>ef`: each part with the letter of who wrote it; t is the template. */
function partsOf(value: Str): string {
  const text = plain(value);
  const spans = typeof value === "string" ? [] : value.spans;
  let [result, at] = ["", 0];
  for (const { start, end, origin } of spans) {
    assert.ok(at <= start && start < end && end <= text.length, "spans in order, none empty");
    if (at < start) result += `t:${text.slice(at, start)} `;
    result += `${origin[0]}:${text.slice(start, end)} `;
    at = end;
  }
  return (at < text.length ? `${result}t:${text.slice(at)}` : result).trim();
}

const [ours, caller, assistant] = ["our", from("call", "caller"), from("asst", "assistant")];
const mixed = join(run(), [caller, ours, assistant, caller]);

Deno.test("joined, each part keeps who wrote it, and parts of one writer become one", () => {
  assert.equal(partsOf(mixed), "c:call t:our a:asst c:call");
  assert.equal(partsOf(join(run(), [caller, caller, assistant])), "c:callcall a:asst");
  assert.equal(partsOf(join(run(), [caller, caller], ours)), "c:call t:our c:call");
  assert.equal(partsOf(join(run(), [ours, ours], caller)), "t:our c:call t:our");
  assert.equal(partsOf(join(run(), [])), "");
  assert.equal(join(run(), [ours, ours], "-"), "our-our");
  const written = new Writer(run()).write("").write(caller).write("").write(marked(caller))
    .finish();
  assert.equal(partsOf(written), "c:callcall");
  assert.ok(!isMarkup(written));
});

Deno.test("cut out, a part keeps its writers", () => {
  const table: [start: number, end: number, parts: string][] = [
    [0, 15, "c:call t:our a:asst c:call"],
    [0, 4, "c:call"],
    [4, 7, "t:our"],
    [3, 8, "c:l t:our a:a"],
    [7, 11, "a:asst"],
    [10, 12, "a:t c:c"],
    [11, 15, "c:call"],
    [14, 99, "c:l"],
    [5, 5, ""],
    [6, 5, ""],
    [15, 15, ""],
  ];
  for (const [start, end, parts] of table) {
    assert.equal(partsOf(cut(mixed, start, end)), parts, `${start} to ${end}`);
  }
  assert.ok(!isMarkup(cut(marked(mixed), 0, 15)));
  assert.equal(cut("abc", 1, 2), "b");
});

Deno.test("changed, a text is as a whole of whoever wrote any of it", () => {
  const longer = (text: string) => `${text}!`;
  assert.equal(
    partsOf(mapped(run(), mixed, (text) => text.toUpperCase())),
    partsOf(mixed).replace(
      /:\w+/g,
      (part) => part.toUpperCase(),
    ),
  );
  assert.equal(partsOf(mapped(run(), mixed, longer)), "c:callourasstcall!");
  assert.equal(partsOf(mapped(run(), join(run(), [ours, assistant]), longer)), "a:ourasst!");
  assert.equal(mapped(run(), ours, longer), "our!");
  assert.equal(partsOf(mapped(run(), marked(ours), longer)), "t:our!");
  assert.equal(partsOf(madeOf("x", ours, assistant, caller)), "a:x");
  assert.equal(madeOf("x", ours), "x");
  assert.equal(madeOf("", caller), "");
});

Deno.test("marked as safe, a text keeps its writers", () => {
  assert.equal(partsOf(marked(mixed)), partsOf(mixed));
  assert.ok(isMarkup(marked(ours)) && !isMarkup(ours) && !isMarkup(mixed));
  assert.equal(unmarked(marked(ours)), ours);
  assert.equal(unmarked(mixed), mixed);
  assert.equal(partsOf(unmarked(marked(mixed))), partsOf(mixed));
  assert.ok(!isMarkup(unmarked(marked(mixed))));
});

Deno.test("characters are counted as Python counts them", () => {
  const text = "a😀b\ud800c";
  assert.equal(countPoints(text), 5);
  assert.deepEqual([0, 1, 2, 3, 4, 5, 9].map((index) => offsetOf(text, index)), [
    0,
    1,
    3,
    4,
    5,
    6,
    6,
  ]);
  assert.deepEqual([0, 2, 9].map((index) => offsetOf("abc", index)), [0, 2, 3]);
  assert.deepEqual([0, 1, 3, 6].map((offset) => indexOf(text, offset)), [0, 1, 2, 5]);
  assert.deepEqual([...points(text)], ["a", "😀", "b", "\ud800", "c"]);
  assert.deepEqual([...points(join(run(), ["a", from("😀", "caller")]))].map(partsOf), [
    "t:a",
    "c:😀",
  ]);
});

Deno.test("texts are in the order of their code points", () => {
  const sorted = [
    "",
    "A",
    "a",
    "aa",
    "a\uffff",
    "a😀",
    "a😀b",
    "a😁",
    "b",
    "\ud7ff",
    "\uffff",
    "😀",
    "😀😀",
  ];
  for (const [i, a] of sorted.entries()) {
    for (const [j, b] of sorted.entries()) {
      assert.equal(Math.sign(compareTexts(a, b)), Math.sign(i - j), `${a} ${b}`);
    }
  }
});

Deno.test("a text is found where it is, its head and the rest", () => {
  const long = "0123456789abcdefghij";
  const table: [text: string, wanted: string, first: number, last: number][] = [
    ["abcabc", "bc", 1, 4],
    ["abcabc", "zz", -1, -1],
    ["abc", "", 0, 3],
    ["", "a", -1, -1],
    ["a", "abc", -1, -1],
    [`${long}x${long}`, long, 0, 21],
    [`0123456789abcdefX${long}`, long, 17, 17],
    [`${long}0123456789abcdefX`, long, 0, 0],
    [`0123456789abcdefX`, long, -1, -1],
    [`x${long.slice(0, 16)}`, long.slice(0, 16), 1, 1],
  ];
  for (const [text, wanted, first, last] of table) {
    assert.equal(find(run(), text, wanted), first, `${wanted} in ${text}`);
    assert.equal(findLast(run(), text, wanted), last, `last ${wanted} in ${text}`);
  }
  assert.equal(find(run(), "abcabc", "abc", 1), 3);
  assert.equal(findLast(run(), "abcabc", "abc", 5), 0);
});

Deno.test("JSON becomes values, its texts of who wrote them", () => {
  const shown = (value: Value): unknown => {
    if (value instanceof Float) return `float ${Object.is(value.value, -0) ? "-0" : value.value}`;
    if (value instanceof Text) return partsOf(value);
    if (Array.isArray(value)) return value.map(shown);
    if (!(value instanceof Dict)) return value;
    return Object.fromEntries(
      [...value.entries()].map(([key, item]) => [shown(key), shown(item)] as [string, unknown]),
    );
  };
  const table: [json: unknown, value: unknown][] = [
    [null, null],
    [undefined, null],
    [true, true],
    [false, false],
    ["a", "c:a"],
    ["", ""],
    [7, 7],
    [1.5, "float 1.5"],
    [-0, "float -0"],
    [2 ** 53 - 1, 2 ** 53 - 1],
    [2 ** 53, 2n ** 53n],
    [-(2 ** 64), -(2n ** 64n)],
    [2 ** 64 + 4096, `float ${2 ** 64 + 4096}`],
    [["a", [1]], ["c:a", [1]]],
    [{ a: "b", gone: undefined, none: null }, { "c:a": "c:b", "c:none": null }],
    [[new Said({ a: ["b"] }, "assistant"), "c"], [{ "a:a": ["a:b"] }, "c:c"]],
  ];
  for (const [json, value] of table) assert.deepEqual(shown(fromJson(json, "caller")), value);
  assert.deepEqual(shown(fromJson({ a: ["b"] })), { a: ["b"] });
  assert.throws(() => fromJson(() => 1), {
    name: "TemplateError",
    message: "a template's input must be JSON: it has a function",
  });
});

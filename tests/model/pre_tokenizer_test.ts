import assert from "node:assert/strict";
import fc from "fast-check";
import { nfc } from "../../model/nfc.ts";
import { normalizer } from "../../model/normalizer.ts";
import { preTokenizer } from "../../model/pre_tokenizer.ts";
import { cut } from "./cut.ts";

/** The pieces of a text, a bar between. */
function pieces(json: unknown, text: string, first = true): string {
  const { prepare, scanners } = preTokenizer(json);
  return cut(scanners, prepare(text, first)).join("|");
}

const sequence = (...pretokenizers: unknown[]) => ({ type: "Sequence", pretokenizers });
const split = (pattern: unknown, behavior: string, more: object = {}) => ({
  type: "Split",
  pattern,
  behavior,
  invert: false,
  ...more,
});
const plain = { String: "--" };
const digit = split({ Regex: "\\p{N}" }, "Isolated");
const gpt2 = split(
  {
    Regex: "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
  },
  "Removed",
  { invert: true },
);
const asItIs = { type: "ByteLevel", add_prefix_space: false, use_regex: false };
const metaspace = (more: object = {}) => ({ type: "Metaspace", ...more });

const cases: readonly (readonly [json: unknown, text: string, pieces: string])[] = [
  [null, "", ""],
  [null, "a b", "a b"],
  [sequence(), "a b", "a b"],
  [{ type: "Digits" }, "12a34bc", "12|a|34|bc"],
  [{ type: "Digits", individual_digits: false }, "12a34", "12|a|34"],
  [{ type: "Digits", individual_digits: true }, "12ab3", "1|2|ab|3"],
  [split(plain, "MergedWithPrevious"), "a--b--", "a--|b--"],
  [split(plain, "MergedWithPrevious"), "--ab", "--|ab"],
  [split(plain, "MergedWithNext"), "a--b--", "a|--b|--"],
  [split(plain, "MergedWithNext"), "----ab", "--|--ab"],
  [split(plain, "Isolated"), "a--b----", "a|--|b|--|--"],
  [split(plain, "Isolated"), "---a", "--|-a"],
  [split(plain, "Isolated"), "ab", "ab"],
  // The second scanner must not find what begins behind its piece, nor what lies there.
  [sequence(digit, split(plain, "MergedWithPrevious")), "a1b--c", "a|1|b--|c"],
  [sequence(digit, split(plain, "MergedWithNext")), "a1b--c", "a|1|b|--c"],
  [sequence(digit, split(plain, "Isolated")), "a1b--c", "a|1|b|--|c"],
  [sequence(digit, split({ String: "2" }, "MergedWithNext")), "a12b", "a|1|2|b"],
  [sequence(digit, split({ String: "1" }, "Isolated")), "a1", "a|1"],
  [sequence(sequence(digit), asItIs), "a12", "a|1|2"],
  [gpt2, "a b  c1", "a| b| | c|1"],
  [{ type: "ByteLevel" }, "a b", " a| b"],
  [{ type: "ByteLevel" }, " a b", " a| b"],
  [{ type: "ByteLevel" }, "", ""],
  [{ type: "ByteLevel", add_prefix_space: false }, "a b", "a| b"],
  [{ type: "ByteLevel", add_prefix_space: false, use_regex: true }, "a b", "a| b"],
  [{ type: "ByteLevel", use_regex: false }, "a b", " a b"],
  [asItIs, "a b", "a b"],
  [sequence(digit, asItIs), "a b1", "a b|1"],
  [metaspace(), "a b", "▁a|▁b"],
  [metaspace(), " a  b", "▁a|▁|▁b"],
  [metaspace(), "", ""],
  [metaspace({ add_prefix_space: true }), "a b", "▁a|▁b"],
  [metaspace({ add_prefix_space: false }), "a b", "a|▁b"],
  [metaspace({ add_prefix_space: false, prepend_scheme: "always" }), "a", "▁a"],
  [metaspace({ prepend_scheme: "never", replacement: "▁" }), "a b", "a|▁b"],
  [metaspace({ prepend_scheme: "never", split: true }), "a b", "a|▁b"],
  [metaspace({ split: false }), "a b", "▁a▁b"],
];

Deno.test("preTokenizer() cuts as each kind of it says", () => {
  for (const [json, text, expected] of cases) {
    assert.equal(pieces(json, text), expected, JSON.stringify([json, text]));
  }
  for (const [scheme, expected] of Object.entries({ first: "a", always: "▁a", never: "a" })) {
    assert.equal(pieces(metaspace({ prepend_scheme: scheme }), "a", false), expected);
  }
  assert.equal(pieces(metaspace({ prepend_scheme: "first" }), "a", true), "▁a");
});

Deno.test("preTokenizer() knows vocabularies of bytes by ByteLevel alone", () => {
  for (const json of [{ type: "ByteLevel" }, asItIs, sequence(digit, asItIs)]) {
    assert.equal(preTokenizer(json).byteLevel, true);
  }
  for (const json of [null, digit, metaspace(), sequence(digit)]) {
    assert.equal(preTokenizer(json).byteLevel, false);
  }
});

const refused: readonly (readonly [json: unknown, message: string])[] = [
  [{ type: "Whitespace" }, "pre-tokenizer Whitespace is not supported"],
  [{ type: "Sequence" }, "Sequence must have pretokenizers"],
  [sequence(asItIs, digit), "ByteLevel must be the last pre-tokenizer"],
  [
    sequence(digit, { type: "ByteLevel" }),
    "add_prefix_space after other pre-tokenizers is unknown",
  ],
  [sequence(digit, metaspace()), "Metaspace beside other pre-tokenizers is unknown"],
  [metaspace({ replacement: "_" }), "Metaspace's replacement _ is not supported"],
  [metaspace({ prepend_scheme: "last" }), "Metaspace's prepend_scheme last is not supported"],
  [split(plain, "Removed"), "Split with the pattern --, Removed is not supported"],
  [split({ String: "" }, "Isolated"), "Split with the pattern , Isolated is not supported"],
  [
    split(plain, "Isolated", { invert: true }),
    "Split with the pattern --, Isolated, inverted is not supported",
  ],
  [
    split({ Regex: "\\p{N}" }, "Removed"),
    "Split with the pattern \\p{N}, Removed is not supported",
  ],
  [
    split({ Regex: "\\p{N}" }, "Removed", { invert: true }),
    "Split with the pattern \\p{N}, Removed, inverted is not supported",
  ],
  [
    split({ Regex: "\\p{N}{1,3}" }, "MergedWithNext"),
    "Split with the pattern \\p{N}{1,3}, MergedWithNext is not supported",
  ],
  [split(undefined, "Isolated"), "Split with the pattern undefined, Isolated is not supported"],
  [split({ Regex: 7 }, "Isolated"), "Split with the pattern 7, Isolated is not supported"],
];

Deno.test("preTokenizer() says what it does not know", () => {
  for (const [json, message] of refused) assert.throws(() => preTokenizer(json), { message });
});

const prepend = { type: "Prepend", prepend: "▁" };
const replace = (from: unknown, to: unknown) => ({
  type: "Replace",
  pattern: { String: from },
  content: to,
});
const normalized: readonly (readonly [json: unknown, text: string, expected: string])[] = [
  [{ type: "NFC" }, "e\u0301", "é"],
  [prepend, "a", "▁a"],
  [prepend, "", ""],
  [replace(" ", "▁"), " a b", "▁a▁b"],
  [replace("a", "$&$1$$"), "aba", "$&$1$$b$&$1$$"],
  [{ type: "Sequence", normalizers: [prepend, replace(" ", "▁")] }, "a b", "▁a▁b"],
  [{ type: "Sequence", normalizers: [replace("a", "b"), null, replace("b", "c")] }, "ab", "cc"],
];

Deno.test("normalizer() changes a text as each kind of it says", () => {
  for (const [json, text, expected] of normalized) {
    assert.equal(normalizer(json)?.(text), expected, JSON.stringify(json));
  }
  for (const none of [null, { type: "Sequence", normalizers: [] }]) {
    assert.equal(normalizer(none), undefined);
  }
});

const unknown: readonly (readonly [json: unknown, message: string])[] = [
  [{ type: "NFKC" }, "normalizer NFKC is not supported"],
  [{ type: "Sequence" }, "Sequence must have normalizers"],
  [{ type: "Prepend" }, "Prepend's prepend must be text: current value is undefined"],
  [{ type: "Prepend", prepend: "" }, "Prepend's prepend must be text: current value is "],
  [replace(7, "a"), "Replace's pattern.String must be text: current value is 7"],
  [{ type: "Replace" }, "Replace's pattern.String must be text: current value is undefined"],
  [replace("a", 7), "Replace's content must be text: current value is 7"],
];

Deno.test("normalizer() says what it does not know", () => {
  for (const [json, message] of unknown) assert.throws(() => normalizer(json), { message });
});

Deno.test("nfc() is Unicode's, but for runs of more than 30 marks", () => {
  const unit = fc.constantFrom(..."aeo\u00e9\u02ff\u0300\u0301\u0323\u0327가\u1100\u1161\u2126");
  fc.assert(fc.property(fc.array(unit, { maxLength: 30 }), (units) => {
    const text = units.join("");
    assert.equal(nfc(text), text.normalize("NFC"));
  }));
  const marks = (count: number) => "\u0301".repeat(count - 1) + "\u0323";
  const whole = `a${marks(30)}`;
  assert.equal(nfc(whole), whole.normalize("NFC"));
  assert.equal(nfc(`b${marks(31)}`), `b${marks(31)}`, "the last mark would go to the front");
  assert.notEqual(`b${marks(31)}`.normalize("NFC"), `b${marks(31)}`);
  assert.equal(nfc(`b${marks(31)}e\u0301e\u0301`).slice(-2), "éé", "all parts are composed");
});

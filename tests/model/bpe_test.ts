import assert from "node:assert/strict";
import fc from "fast-check";
import { type BpeRules, BytePairEncoder, byteTokens } from "../../model/bpe.ts";
import { Merges } from "../../model/merges.ts";
import { wordsOf } from "../../model/sentence_piece.ts";
import { finished } from "../../model/steps.ts";
import { cut } from "./cut.ts";

/** A vocabulary of these tokens, and rules by their places. */
function rulesOf(
  tokens: readonly string[],
  merges: readonly string[],
  changes: Partial<BpeRules> = {},
): BpeRules {
  return {
    ids: new Map(tokens.map((token, id) => [token, id])),
    ranks: new Map(merges.map((merge, rank) => [merge, rank])),
    ignoreMerges: false,
    byteFallback: false,
    unknown: undefined,
    fuseUnknown: false,
    ...changes,
  };
}

function tokensOf(rules: BpeRules, piece: string, byteLevel = false): string {
  const texts = [...rules.ids.keys()];
  const tokens: number[] = [];
  const rest = new BytePairEncoder(rules, texts, byteLevel).encode(piece, tokens);
  if (rest !== undefined) finished(rest);
  return tokens.map((id) => texts[id]).join(" ");
}

/** By the book: of all neighbours that have a rule, the best is merged, the leftmost among equals. */
function mergedByTheBook(piece: string, ranks: ReadonlyMap<string, number>): string {
  const symbols = [...piece];
  for (;;) {
    const ranked = symbols.slice(1).map((right, i) => ranks.get(`${symbols[i]} ${right}`));
    const best = Math.min(...ranked.map((rank) => rank ?? Infinity));
    if (best === Infinity) return symbols.join(" ");
    const at = ranked.indexOf(best);
    symbols.splice(at, 2, `${symbols[at]}${symbols[at + 1]}`);
  }
}

Deno.test("BytePairEncoder merges as BPE's definition does", () => {
  const part = fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength: 1, maxLength: 3 });
  const merges = fc.uniqueArray(fc.tuple(part, part).map((pair) => pair.join(" ")), {
    maxLength: 12,
  });
  const piece = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 80 });
  fc.assert(
    fc.property(merges, piece, (merges, piece) => {
      const tokens = ["a", "b", "c", ...merges.map((merge) => merge.replace(" ", ""))];
      const rules = rulesOf([...new Set(tokens)], merges);
      assert.equal(tokensOf(rules, piece), mergedByTheBook(piece, rules.ranks));
    }),
    { numRuns: 200 },
  );
});

Deno.test("BytePairEncoder merges pieces that are longer than any that it keeps", () => {
  const rules = rulesOf(["a", "b", "aa", "aaaa"], ["a a", "aa aa"]);
  for (const length of [63, 64, 65, 4096, 4097, 10_000]) {
    const piece = "a".repeat(length - 1) + "b";
    const rest = ["", "a ", "aa ", "aa a "][(length - 1) % 4];
    const expected = `${"aaaa ".repeat(Math.floor((length - 1) / 4))}${rest}b`;
    assert.equal(tokensOf(rules, piece), expected, `${length}`);
  }
});

Deno.test("BytePairEncoder says the same of a piece after 70,000 others", () => {
  const rules = rulesOf(["a", "b", "ab", ..."0123456789"], ["a b"]);
  const encoder = new BytePairEncoder(rules, [...rules.ids.keys()], false);
  const encoded = (piece: string) => {
    const tokens: number[] = [];
    encoder.encode(piece, tokens);
    return tokens;
  };
  for (let i = 0; i < 70_000; i++) {
    assert.equal(encoded(`${i}ab`).at(-1), 2);
    if (i % 20_000 === 0) assert.deepEqual(encoded("abb"), [2, 1]);
  }
  assert.deepEqual([encoded("0ab"), encoded("ab"), encoded("69999ab").length], [[3, 2], [2], 6]);
});

const withUnknown = { unknown: "?", fuseUnknown: false };
const bytes = { byteFallback: true };
const cases: readonly (readonly [rules: BpeRules, piece: string, tokens: string])[] = [
  [rulesOf(["a", "b"], []), "axb", "a b"],
  [rulesOf(["a", "b", "ab"], ["a b"]), "axb", "ab"],
  [rulesOf(["a", "?"], [], withUnknown), "xay", "? a ?"],
  [rulesOf(["a", "?"], [], withUnknown), "xxa", "? ? a"],
  [rulesOf(["a", "?"], [], { unknown: "?", fuseUnknown: true }), "xxaxyz", "? a ?"],
  [rulesOf(["a", "b"], [], { unknown: "?", fuseUnknown: true }), "xab", "a b"],
  [rulesOf(["a", "?"], [], { fuseUnknown: true }), "??", "? ?"],
  [rulesOf(["a", "abc"], []), "abc", "a"],
  [rulesOf(["a", "abc"], [], { ignoreMerges: true }), "abc", "abc"],
  [rulesOf(["a", "abc"], [], { ignoreMerges: true }), "aabc", "a a"],
  [rulesOf(["<0xC3>", "<0xA9>", "a"], [], bytes), "aé", "a <0xC3> <0xA9>"],
  [rulesOf(["<0xC3>", "?"], [], { ...bytes, ...withUnknown }), "é", "?"],
  [rulesOf(["<0xC3>", "a"], [], bytes), "éa", "a"],
  [rulesOf(["<0xC3>", "<0xA9>", "?"], [], withUnknown), "é", "?"],
  [rulesOf(["<0x0A>"], [], bytes), "\n", "<0x0A>"],
  [rulesOf(["ab", "a", "b"], []), "ab", "a b"],
  [rulesOf(["a", "b"], ["a b"]), "ab", "a b"], // a rule whose result is no token
];

Deno.test("BytePairEncoder writes what has no token as bytes, as unknown, or not at all", () => {
  for (const [rules, piece, expected] of cases) {
    assert.equal(tokensOf(rules, piece), expected, JSON.stringify([[...rules.ids], piece]));
  }
});

Deno.test("BytePairEncoder of bytes writes each in GPT-2's alphabet", () => {
  const rules = rulesOf(["Ã", "©", "Ġ", "Ã©", "Ġa"], ["Ã ©"]);
  assert.equal(tokensOf(rules, "é é", true), "Ã© Ġ Ã©");
  assert.equal(tokensOf(rules, " a", true), "Ġ");
  assert.equal(tokensOf({ ...rules, ignoreMerges: true }, " a", true), "Ġa");
});

Deno.test("Merges knows each pair's rule, however many were asked for", () => {
  const texts = Array.from({ length: 1000 }, (_, i) => String.fromCharCode(0x4e00 + i));
  const [a, b] = [texts[3]!, texts[7]!];
  const rules = rulesOf([...texts, a + b], [`${b} ${a}`, `${a} ${b}`]);
  const merges = new Merges(rules, texts);
  const check = () => {
    const found = merges.find(3, 7);
    assert.deepEqual([merges.rank(found), merges.result(found)], [1, 1000]);
    assert.equal(merges.rank(merges.find(7, 3)), -1, "its result is no token");
  };
  for (let left = 0; left < 450; left++) {
    for (let right = 0; right < 1000; right++) {
      if (left === 3 && right === 7) continue;
      assert.equal(merges.rank(merges.find(left, right)), -1);
    }
    if (left % 50 === 0) check();
  }
  check();
});

const sign = "▁";
const everyByte = [...byteTokens];
/** Where a text may be cut before words, by what {@linkcode wordsOf} sees in the rules. */
const words: readonly (readonly [rules: BpeRules, text: string, pieces: string | undefined])[] = [
  [rulesOf([sign, "a"], []), "▁a▁▁a▁", "▁a|▁▁a|▁"],
  [rulesOf([sign, "a"], []), "a▁a", "a|▁a"],
  [rulesOf([sign, "a", "\n"], []), "▁a\n\n▁a", "▁a|\n|\n|▁a"],
  [rulesOf([sign, "a"], []), "▁a\n▁a", "▁a\n|▁a"], // a line feed that vanishes
  [rulesOf([sign, "?"], [], withUnknown), "a\nb", "a|\n|b"],
  [rulesOf([sign, ...everyByte], [], bytes), "a\nb", "a|\n|b"],
  [rulesOf([sign, ...everyByte], []), "a\nb", "a\nb"],
  [rulesOf([sign, "a", "\n"], ["\n a"]), "▁a\na▁a", "▁a\na|▁a"],
  [rulesOf([sign, ...everyByte], ["<0x0A> <0x0A>"], bytes), "a\nb", "a\nb"],
  [rulesOf([sign, "a"], ["▁ ▁", "▁▁ ▁▁"]), "▁▁▁a", "▁▁▁a"],
  [rulesOf([sign, "a"], ["▁ a", "▁▁ ▁a"]), "▁▁a▁a", "▁▁a|▁a"],
  [rulesOf(["a"], []), "a", undefined],
  [rulesOf([sign, "a"], ["a ▁"]), "a", undefined],
  [rulesOf([sign, "a"], ["▁a ▁"]), "a", undefined],
  [rulesOf([sign, "a"], ["▁ a▁"]), "a", undefined],
  [rulesOf([sign, "a"], [], { ignoreMerges: true }), "a", undefined],
  [rulesOf([sign, "?"], [], { unknown: "?", fuseUnknown: true }), "a", undefined],
  [rulesOf([sign, "?", ...everyByte], [], { ...bytes, unknown: "?", fuseUnknown: true }), "a", "a"],
  [
    rulesOf([sign, "?", ...everyByte.slice(1)], [], {
      ...bytes,
      unknown: "?",
      fuseUnknown: true,
    }),
    "a",
    undefined,
  ],
  [rulesOf([sign], [], { fuseUnknown: true }), "a▁a", "a|▁a"],
];

Deno.test("wordsOf() cuts before words where no rule merges across", () => {
  for (const [rules, text, expected] of words) {
    const name = JSON.stringify([[...rules.ids].slice(0, 4), [...rules.ranks], text]);
    const scanners = wordsOf(rules);
    assert.equal(scanners.length, expected === undefined ? 0 : 1, name);
    if (expected === undefined) continue;
    assert.equal(cut(scanners, text).join("|"), expected, name);
  }
});

Deno.test("BytePairEncoder makes a piece once while it is used", () => {
  const made: string[] = [];
  const ids = new Map([["a", 0], ["b", 1]]);
  ids.get = (text) => {
    made.push(text);
    return Map.prototype.get.call(ids, text);
  };
  // With ignoreMerges every piece that is made is looked for among the tokens first.
  const encoder = new BytePairEncoder(
    { ...rulesOf([], []), ids, ignoreMerges: true },
    ["a", "b"],
    false,
  );
  const timesMade = (piece: string) => {
    made.length = 0;
    encoder.encode(piece, []);
    return made.filter((text) => text === piece).length;
  };
  const others = (from: number) => {
    for (let i = from; i < from + 32_768; i++) {
      encoder.encode(i.toString(2).replaceAll("0", "a"), []);
    }
  };
  assert.deepEqual([timesMade("ab"), timesMade("ab")], [1, 0]);
  others(1 << 20);
  assert.equal(timesMade("ab"), 0, "among the older ones");
  others(1 << 21);
  assert.equal(timesMade("ab"), 0, "it was used, and became one of the younger");
  others(1 << 22);
  others(1 << 23);
  assert.equal(timesMade("ab"), 1, "it was not used for long");
  const long = "ab".repeat(33);
  assert.equal(timesMade(long), timesMade(long), "long ones are not kept");
});

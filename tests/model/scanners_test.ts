/**
 * Our scanners against the expressions that they stand for, which JavaScript's own engine runs here.
 *
 * @module
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { digits, gpt2, knownScanner } from "../../model/scanners.ts";
import { cut } from "./cut.ts";

/** As the files of models have them, line breaks aside, which stand there as such too. */
const PATTERNS: Readonly<Record<string, string>> = {
  "GPT-2": "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
  "Llama 3": "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|" +
    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  "Qwen 2": "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|" +
    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  "Tekken":
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|" +
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|" +
    "\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  "o200k":
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+" +
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)?|" +
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*" +
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)?|" +
    "\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  "a digit": "\\p{N}",
  "three digits": "\\p{N}{1,3}",
  "DeepSeek's ideographs": "[一-龥\u3040-ゟ゠-ヿ]+",
  "DeepSeek's words": "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|" +
    "[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|" +
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
};

/** The matches of an expression and what is between, Rust's `\s` written as JavaScript must. */
function piecesOf(pattern: string, text: string): string[] {
  const spaces = pattern.replaceAll("\\s", "\\p{White_Space}").replaceAll(
    "\\S",
    "\\P{White_Space}",
  );
  const pieces: string[] = [];
  let done = 0;
  for (const { 0: match, index } of text.matchAll(new RegExp(spaces, "gu"))) {
    pieces.push(text.slice(done, index), match);
    done = index + match.length;
  }
  return [...pieces, text.slice(done)].filter((piece) => piece !== "");
}

/** Borders of all that an expression names, and what follows or precedes them. */
const characters = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(..."aszAZÉéßǅʰªא文ひ\u0301\u0903\u20dd") },
  { weight: 3, arbitrary: fc.constantFrom(..." \t\n\r\u0085\u00a0\u3000\ufeff\v\u001f") },
  { weight: 2, arbitrary: fc.constantFrom(..."0129²½٣Ⅷ", "𝟙") },
  { weight: 2, arbitrary: fc.constantFrom(..."'/-.[]`~@{^_!¿€+\u0001\ue000", "😀", "\ud83d") },
  {
    weight: 1,
    arbitrary: fc.constantFrom(..."\u4dff一龥龦\u303f\u3040\u309f\u30a0\u30ff\u3100𝐀𠀀"),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom("'s", "'T", "'re", "'rE", "'ve", "'VE", "'ll", "'lL", "'le")
      .chain((text) => fc.constantFrom(text, `a${text}`)),
  },
  { weight: 1, arbitrary: fc.constantFrom("'m", "'D", "'ſ", "'rl", "'v", "'l", "'r", "'@", "'[") },
  { weight: 1, arbitrary: fc.constantFrom("'Z", "  ", "\r\n", " \n ", "//\n", "Aa", "aA") },
);
const texts = fc.array(characters, { maxLength: 12 }).map((pieces) => pieces.join(""));

for (const [name, pattern] of Object.entries(PATTERNS)) {
  Deno.test(`The scanner of ${name} cuts as its expression does`, () => {
    const known = knownScanner(pattern);
    assert.ok(known);
    fc.assert(
      fc.property(texts, (text) => {
        assert.deepEqual(cut([known.scan], text), piecesOf(pattern, text));
      }),
      { numRuns: 3000 },
    );
  });

  Deno.test(`The scanner of ${name} sees nothing beyond the piece that it is given`, () => {
    const { scan } = knownScanner(pattern)!;
    fc.assert(
      fc.property(texts, texts, texts, (before, text, behind) => {
        const whole = `${before}x${text}x${behind}`;
        const [start, end] = [before.length + 1, before.length + 1 + text.length];
        const pieces: string[] = [];
        for (let at = start; at < end;) {
          const next = scan(whole, at, end);
          pieces.push(whole.slice(at, next));
          at = next;
        }
        assert.deepEqual(pieces, piecesOf(pattern, text));
      }),
      { numRuns: 1500 },
    );
  });
}

Deno.test("knownScanner() knows an expression by its line breaks too, and which leave gaps", () => {
  for (const [name, pattern] of Object.entries(PATTERNS)) {
    const written = pattern.replaceAll("\\r", "\r").replaceAll("\\n", "\n");
    assert.equal(knownScanner(written)?.scan, knownScanner(pattern)?.scan, name);
    const leavesGaps = /digit|DeepSeek/.test(name);
    assert.equal(knownScanner(pattern)?.hasGaps, leavesGaps, name);
  }
  assert.equal(knownScanner("")?.scan, undefined);
});

Deno.test("gpt2() and digits() are the scanners of their expressions", () => {
  assert.equal(knownScanner(PATTERNS["GPT-2"]!)?.scan, gpt2);
  assert.deepEqual(cut([digits(2)], "a12345b"), ["a", "12", "34", "5", "b"]);
});

import assert from "node:assert/strict";
import fc from "fast-check";
import { Detokenizer } from "../../engine/detokenizer.ts";
import { ByteTokenizer } from "./byte_tokenizer.ts";

const words = ["▁Hello", "▁world", "▁", "ß", "<end>", "▁日本", "x", "\uFFFD"];
const tokenizer = new ByteTokenizer(words);
const sentences = new ByteTokenizer(words, { stripsLeadingSpace: true });

function stream(
  tokenizer: ByteTokenizer,
  tokens: readonly number[],
  { prompt = [] as readonly number[], skipSpecialTokens = true } = {},
): string[] {
  const detokenizer = new Detokenizer(tokenizer, prompt, { skipSpecialTokens });
  return [...tokens.map((token) => detokenizer.push(token)), detokenizer.flush()];
}

const anyToken = fc.oneof(
  fc.nat(255), // any byte: mostly no valid UTF-8
  fc.integer({ min: 256, max: 255 + words.length }),
);
/** The bytes of whole characters, cut anywhere into tokens of a byte, and words in between. */
const textTokens = fc.array(
  fc.oneof(
    fc.string({ unit: "binary", maxLength: 4 }).map((text) => tokenizer.encode(text)),
    fc.constantFrom(...words).map((word) => [tokenizer.idOf(word)]),
  ),
  { maxLength: 8 },
).map((parts) => parts.flat());

for (
  const [name, tokens] of Object.entries({ "any tokens": fc.array(anyToken), text: textTokens })
) {
  for (const [kind, it] of Object.entries({ bytes: tokenizer, sentences })) {
    Deno.test(`Detokenizer streams what decode() makes of all: ${name}, ${kind}`, () => {
      fc.assert(fc.property(tokens, fc.boolean(), (tokens, skipSpecialTokens) => {
        const streamed = stream(it, tokens, { skipSpecialTokens }).join("");
        assert.equal(streamed, it.decode(tokens, { skipSpecialTokens }));
      }));
    });

    Deno.test(`Detokenizer continues the prompt's text: ${name}, ${kind}`, () => {
      fc.assert(fc.property(textTokens, tokens, fc.boolean(), (prompt, tokens, skip) => {
        const options = { skipSpecialTokens: skip };
        const streamed = stream(it, tokens, { prompt, ...options }).join("");
        const whole = it.decode([...prompt, ...tokens], options);
        assert.equal(it.decode(prompt, options) + streamed, whole);
      }));
    });
  }
}

Deno.test("Detokenizer never emits half a character", () => {
  fc.assert(fc.property(fc.string({ unit: "grapheme" }), (text) => {
    fc.pre(!text.includes("\uFFFD")); // spelled out, it may be emitted
    const pieces = stream(tokenizer, tokenizer.encode(text));
    for (const piece of pieces) assert.ok(piece.isWellFormed() && !piece.includes("\uFFFD"), text);
    assert.equal(pieces.at(-1), "");
    assert.equal(pieces.join(""), text);
  }));
});

Deno.test("Detokenizer emits a character with its last byte", () => {
  assert.deepEqual(stream(tokenizer, tokenizer.encode("é€😀")), [
    ...["", "é"],
    ...["", "", "€"],
    ...["", "", "", "😀"],
    "",
  ]);
});

Deno.test("Detokenizer holds at most three tokens of broken UTF-8", () => {
  const broken = new Array<number>(40).fill(0xf0);
  assert.equal(stream(tokenizer, [...broken, 0x41]).join(""), "\uFFFD".repeat(40) + "A");
  const detokenizer = new Detokenizer(tokenizer, [], { skipSpecialTokens: true });
  let held = 0;
  for (const byte of [0xe2, 0x82, 0xe2, 0x82, 0x41]) {
    held = detokenizer.push(byte) === "" ? held + 1 : 0;
    assert.ok(held <= 4);
  }
  assert.equal(held, 0);
});

Deno.test("Detokenizer decodes a few tokens at a time, whatever has no text", () => {
  let longest = 0;
  class Counting extends ByteTokenizer {
    override decode(tokens: readonly number[]): string {
      longest = Math.max(longest, tokens.length);
      return super.decode(tokens);
    }
  }
  const it = new Counting([""]);
  const tokens = [...new Array<number>(1000).fill(it.idOf("")), 0x41, 0x42];
  assert.equal(stream(it, tokens).join(""), "AB");
  assert.ok(longest <= 3, `${longest} tokens at a time`);
});

Deno.test("Detokenizer passes a genuine U+FFFD on at once", () => {
  assert.deepEqual(stream(tokenizer, [tokenizer.idOf("\uFFFD"), 0x41]), ["\uFFFD", "A", ""]);
});

Deno.test("Detokenizer completes a character that the prompt began", () => {
  const bytes = tokenizer.encode("😀");
  for (const numBegun of [1, 2, 3]) {
    const [prompt, rest] = [[0x41, ...bytes.slice(0, numBegun)], bytes.slice(numBegun)];
    const pieces = stream(tokenizer, rest, { prompt });
    assert.deepEqual(pieces, [...new Array(rest.length - 1).fill(""), "😀", ""]);
  }
});

Deno.test("Detokenizer leaves a character to the prompt that no token continues", () => {
  const [first] = tokenizer.encode("€");
  assert.deepEqual(stream(tokenizer, [], { prompt: [0x41, first!] }), [""]);
  assert.deepEqual(stream(tokenizer, [tokenizer.idOf("<end>")], { prompt: [first!] }), ["", ""]);
  assert.deepEqual(stream(tokenizer, [0x42], { prompt: [0x41, first!] }), ["\uFFFDB", ""]);
});

Deno.test("Detokenizer keeps a mark that other readers of text take for an order of bytes", () => {
  const mark = tokenizer.encode("\uFEFF");
  assert.deepEqual(stream(tokenizer, mark, { prompt: [0x41] }), ["", "", "\uFEFF", ""]);
});

Deno.test("Detokenizer passes on the special tokens that it is told to keep", () => {
  const end = tokenizer.idOf("<end>");
  const detokenizer = new Detokenizer(tokenizer, [], { skipSpecialTokens: true, kept: [end] });
  assert.equal(detokenizer.push(end), "<end>");
});

Deno.test("Detokenizer keeps the space of a word after a special token", () => {
  const tokens = ["▁Hello", "<end>", "▁world"].map((word) => sentences.idOf(word));
  assert.deepEqual(stream(sentences, tokens), ["Hello", "", " world", ""]);
  assert.deepEqual(stream(sentences, tokens, { skipSpecialTokens: false }), [
    "Hello",
    "<end>",
    " world",
    "",
  ]);
});

Deno.test("Detokenizer drops the first word's space only where the text begins", () => {
  const [hello, world] = ["▁Hello", "▁world"].map((word) => sentences.idOf(word));
  assert.deepEqual(stream(sentences, [world!]), ["world", ""]);
  assert.deepEqual(stream(sentences, [world!], { prompt: [hello!] }), [" world", ""]);
  const prompt = [sentences.idOf("<end>")]; // it has no text
  assert.deepEqual(stream(sentences, [world!], { prompt }), ["world", ""]);
});

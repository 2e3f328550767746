import assert from "node:assert/strict";
import { loadModel } from "../../model/load.ts";
import type { Tokenizer } from "../../model/spec.ts";
import { ownTimeMs } from "../own_time.ts";
import { assertRefused, ScratchFolder } from "./files.ts";
import { tinyTokenizer, writeTinyFolder } from "./tiny_hf.ts";

const DATA = new URL("../data/", import.meta.url).pathname;

/** The tiny tokenizer with parts of its file changed. */
async function tiny(changes: Record<string, unknown>): Promise<Tokenizer> {
  using folder = new ScratchFolder();
  const files = { "tokenizer.json": JSON.stringify({ ...tinyTokenizer(), ...changes }) };
  return (await loadModel(writeTinyFolder(folder, { files }))).tokenizer;
}

/** A vocabulary of characters, and of what these merges make. */
function characters(text: string, merges: readonly string[]): Record<string, unknown> {
  const tokens = [...new Set(text), ...merges.map((merge) => merge.replace(" ", ""))];
  return {
    model: {
      type: "BPE",
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id + 2])),
      merges,
    },
    decoder: { type: "Fuse" },
  };
}

const shown = (tokenizer: Tokenizer, text: string) =>
  tokenizer.encode(text, { addSpecialTokens: false }).map((id) => tokenizer.tokenText(id)).join(
    " ",
  );

const digitsAndSpaces: Record<string, readonly number[]> = {
  "a  ½": [67, 264, 129, 124],
  "a  ٣": [67, 264, 152, 99],
  "a  ２": [67, 264, 174, 123, 243],
  "a  ²": [67, 264, 129, 113],
};
for (const [text, ids] of Object.entries(digitsAndSpaces)) {
  Deno.test(`encode() cuts ${JSON.stringify(text)} as Rust's tokenizers do`, async () => {
    const { tokenizer } = await loadModel(`${DATA}smollm2-bf16`);
    assert.deepEqual(tokenizer.encode(text, { addSpecialTokens: false }), ids);
  });
}

Deno.test("encode() takes U+0085 for a space and U+FEFF for none, as Rust does", async () => {
  const model = tinyTokenizer()["model"] as { vocab: Record<string, number> };
  const vocab = { ...model.vocab, "Âħ": 260, "ĠĠ": 261, "ï»": 262, "ï»¿": 263, "Ġï»¿": 264 };
  const merges = ["Â ħ", "Ġ Ġ", "ï »", "ï» ¿", "Ġ ï»¿"];
  const tokenizer = await tiny({ model: { ...model, vocab, merges } });
  assert.equal(shown(tokenizer, "  \u0085x"), "ĠĠ Âħ x");
  assert.equal(shown(tokenizer, "  \ufeffx"), "Ġ Ġï»¿ x");
});

const added = (changes: Record<string, unknown>) => ({
  added_tokens: [
    ...tinyTokenizer()["added_tokens"] as unknown[],
    { id: 258, content: "cat", special: false, normalized: false, ...changes },
  ],
});

Deno.test("encode() finds a token of single_word in whole words alone", async () => {
  const tokenizer = await tiny(added({ single_word: true, id: 259 }));
  assert.equal(shown(tokenizer, "concat cat"), "c o n c a t Ġ cat");
  assert.equal(shown(tokenizer, "cat-cats écat"), "cat - c a t s Ġ Ã © c a t");
});

Deno.test("encode() gives a token of lstrip and rstrip the space around it", async () => {
  assert.equal(shown(await tiny(added({ lstrip: true, id: 259 })), "a  cat b"), "a cat Ġ b");
  assert.equal(shown(await tiny(added({ rstrip: true, id: 259 })), "a cat \u0085b"), "a Ġ cat b");
});

Deno.test("encode() finds the longest of several added tokens", async () => {
  const tokenizer = await tiny({
    added_tokens: ["ca", "cat", "catch"].map((content, index) => ({
      id: 260 + index,
      content,
      special: false,
      normalized: false,
    })),
  });
  assert.equal(shown(tokenizer, "catcat catch ca"), "cat cat Ġ catch Ġ ca");
});

Deno.test("encode() cuts at Metaspace's signs, unless split is false", async () => {
  const vocabulary = characters("▁ab", ["a ▁", "a▁ b", "▁ a"]);
  const metaspace = (more: object) => ({ pre_tokenizer: { type: "Metaspace", ...more } });
  assert.equal(shown(await tiny({ ...vocabulary, ...metaspace({}) }), "a b"), "▁a ▁ b");
  const whole = metaspace({ split: false, prepend_scheme: "never" });
  assert.equal(shown(await tiny({ ...vocabulary, ...whole }), "a b"), "a▁b");
});

Deno.test("encode() puts Metaspace's sign before the first part alone, where told so", async () => {
  const first = {
    ...characters("▁ab", ["▁ a", "▁ b"]),
    pre_tokenizer: { type: "Metaspace", prepend_scheme: "first" },
  };
  assert.equal(shown(await tiny(first), "a<eos>b"), "▁a <eos> b");
});

const behaviors = { MergedWithPrevious: "a-- b", MergedWithNext: "a --b", Isolated: "a - - b" };
for (const [behavior, pieces] of Object.entries(behaviors)) {
  Deno.test(`encode() cuts at a Split of ${behavior}`, async () => {
    const tokenizer = await tiny({
      ...characters("a-b", ["a -", "a- -", "- b", "- -b", "- -"]),
      pre_tokenizer: {
        type: "Split",
        pattern: { String: behavior === "Isolated" ? "-" : "--" },
        behavior,
        invert: false,
      },
    });
    assert.equal(shown(tokenizer, "a--b"), pieces);
  });
}

Deno.test("encode() of words is encode() of the whole, for vocabularies without a pre-tokenizer", async () => {
  const apart = await tiny({
    ...characters("▁ab", ["▁ ▁", "▁ a", "a b", "▁▁ ▁a"]),
    pre_tokenizer: null,
  });
  assert.equal(shown(apart, "ab▁ab▁▁▁a"), "ab ▁a b ▁▁▁a");
  assert.equal(shown(apart, "a\nb"), "ab", "a line feed is nothing here");
  const across = await tiny({
    ...characters("▁ab", ["b ▁", "a b▁"]),
    pre_tokenizer: null,
  });
  assert.equal(shown(across, "ab▁b"), "ab▁ b");
});

const spans: Record<string, [text: string, span: [number, number], by: string, expected: string]> =
  {
    "a caller's control token": ["<bos><eos>a", [5, 10], "caller", "<bos> < e o s > a"],
    "a control token half in a caller's text": ["<bos><eos>", [9, 10], "caller", "<bos> < e o s >"],
    "what stands beside a caller's text": ["<eos>a<eos>", [5, 6], "caller", "<eos> a <eos>"],
    "a caller's token that is not special": ["cat cat", [4, 7], "caller", "cat Ġ c a t"],
    "an assistant's control token": ["cat<eos>", [0, 8], "assistant", "cat < e o s >"],
  };
for (const [name, [text, [start, end], by, expected]] of Object.entries(spans)) {
  Deno.test(`encode() knows ${name} by its span`, async () => {
    const tokenizer = await tiny(added({ id: 259 }));
    const literal = [[start, end, by as "caller" | "assistant"]] as const;
    const ids = tokenizer.encode(text, { addSpecialTokens: false, literal });
    assert.equal(ids.map((id) => tokenizer.tokenText(id)).join(" "), expected);
  });
}

Deno.test("encode() composes many marks behind one letter in time that grows with them", async () => {
  const tokenizer = await tiny({ normalizer: { type: "NFC" } });
  assert.equal(shown(tokenizer, "e\u0301"), "Ã ©");
  const start = ownTimeMs();
  tokenizer.encode("a" + "\u0301".repeat(100_000) + "\u0323".repeat(100_000));
  assert.ok(ownTimeMs() - start < 2000, "String.prototype.normalize takes a minute");
});

const regex = (pattern: string, behavior = "Isolated") => ({
  pre_tokenizer: { type: "Split", pattern: { Regex: pattern }, behavior, invert: false },
});
const refused: Record<string, [changes: Record<string, unknown>, message: RegExp]> = {
  "a pattern that is not known": [
    regex("(a+)+$"),
    /Split with the pattern \(a\+\)\+\$, Isolated is not supported/,
  ],
  "a behaviour of a pattern": [
    regex("\\p{N}", "MergedWithNext"),
    /Split with the pattern \\p\{N\}, MergedWithNext is not supported/,
  ],
  "a normalizer": [{ normalizer: { type: "BertNormalizer" } }, /normalizer BertNormalizer is/],
  "a normalizer's pattern": [
    { normalizer: { type: "Replace", pattern: { Regex: " +" }, content: " " } },
    /Replace's pattern.String must be text/,
  ],
  "a post-processor": [
    { post_processor: { type: "RobertaProcessing" } },
    /post-processor RobertaProcessing is not supported/,
  ],
  "a post-processor's token": [
    { post_processor: { type: "TemplateProcessing", single: [{ SpecialToken: { id: "<x>" } }] } },
    /the post-processor's token <x> is not in the vocabulary/,
  ],
  "ByteLevel before others": [
    {
      pre_tokenizer: {
        type: "Sequence",
        pretokenizers: [{ type: "ByteLevel" }, { type: "Digits" }],
      },
    },
    /ByteLevel must be the last pre-tokenizer/,
  ],
};
for (const [name, [changes, message]] of Object.entries(refused)) {
  Deno.test(`loadModel() refuses ${name} of a tokenizer by name`, async () => {
    await assertRefused(() => tiny(changes), message);
  });
}

Deno.test("loadModel() knows a model without a type by its merges, and refuses one without them", async () => {
  const { model, ...rest } = characters("abc", ["a b"]) as { model: Record<string, unknown> };
  const { type: _, merges, ...untyped } = model;
  const tokenizer = await tiny({ ...rest, model: { ...untyped, merges } });
  assert.equal(shown(tokenizer, "abc"), "ab c");
  await assertRefused(
    () => tiny({ ...rest, model: untyped }),
    /model type none is not supported; supported: BPE/,
  );
});

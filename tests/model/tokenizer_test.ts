import assert from "node:assert/strict";
import fc from "fast-check";
import { loadModel } from "../../model/load.ts";
import type { Model, Tokenizer } from "../../model/spec.ts";
import { ownTimeMs } from "../own_time.ts";
import { ScratchFolder } from "./files.ts";
import { gguf, type Metadata } from "./gguf_writer.ts";
import { tinyGguf, withKeys } from "./tiny_gguf.ts";

const DATA = new URL("../data/", import.meta.url).pathname;

async function load(metadata: Metadata): Promise<Model> {
  using folder = new ScratchFolder();
  return await loadModel(folder.write("m.gguf", tinyGguf({ metadata })));
}

const tiny = (await load(withKeys({}))).tokenizer;
const sentencePiece = (await loadModel(`${DATA}llama-gguf-f32`)).tokenizer;

/** Text of all kinds: words, spaces, digits, any character, control tokens. */
const anyText = fc.array(
  fc.oneof(
    fc.string({ unit: "binary" }),
    fc.string({ unit: "grapheme" }),
    fc.constantFrom("the", " the", "  ", "\n\n", "123", "'ll", "<|im_end|>", "▁", "Ġ", "\ufeff"),
  ),
).map((pieces) => pieces.join(""));

Deno.test("decode() gives back any text that a byte-level tokenizer encoded", () => {
  fc.assert(fc.property(anyText, (text) => {
    assert.equal(tiny.decode(tiny.encode(text, { addSpecialTokens: false })), text);
  }));
});

Deno.test("decode() gives back any text that a SentencePiece tokenizer encoded", () => {
  fc.assert(fc.property(anyText, (text) => {
    const tokens = sentencePiece.encode(text, { addSpecialTokens: false });
    // A space goes before each stretch of text, and the lower block of the text is the space's
    // sign.
    const bare = (value: string) => value.replaceAll("▁", " ").replaceAll(" ", "");
    assert.equal(bare(sentencePiece.decode(tokens)), bare(text));
  }));
});

Deno.test("decode() of parts, as bytes, is decode() of the whole", () => {
  fc.assert(fc.property(anyText, fc.nat(50), (text, cut) => {
    const tokens = tiny.encode(text);
    const bytes = tokens.flatMap((token) => [...tiny.tokenBytes(token)]);
    const whole = new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(bytes));
    assert.equal(tiny.decode(tokens), whole);
    const parts = [tokens.slice(0, cut), tokens.slice(cut)].map((part) => tiny.decode(part));
    if (!parts.some((part) => part.includes("\ufffd"))) assert.equal(parts.join(""), whole);
  }));
});

Deno.test("encode() of a long text without spaces takes no quadratic time", () => {
  const time = (length: number) => {
    const text = "the".repeat(length);
    const start = ownTimeMs();
    sentencePiece.encode(text);
    return ownTimeMs() - start;
  };
  time(2000); // warm
  assert.ok(time(40_000) < 100 * Math.max(1, time(4000)), "ten times the text, under 100 times");
});

Deno.test("encode() never doubles BOS", async () => {
  const add = withKeys({ "tokenizer.ggml.add_bos_token": [gguf.bool, true] });
  const { tokenizer } = await load(add);
  const [bos] = tokenizer.encode("");
  assert.deepEqual(tokenizer.encode("").length, 1);
  assert.equal(tokenizer.bosToken, "<|im_start|>");
  const plain = tokenizer.encode("x", { addSpecialTokens: false });
  assert.deepEqual(tokenizer.encode("x"), [bos, ...plain]);
  assert.deepEqual(tokenizer.encode("<|im_start|>x"), [bos, ...plain]);
  assert.deepEqual(tiny.encode("x"), plain);
});

Deno.test("encode() adds EOS where the file wants it", async () => {
  const { tokenizer } = await load(withKeys({ "tokenizer.ggml.add_eos_token": [gguf.bool, true] }));
  assert.equal(tokenizer.tokenText(tokenizer.encode("x").at(-1) as number), "<|im_end|>");
});

/** A SentencePiece vocabulary by hand: control, bytes, then pieces by falling score. */
function pieces(addSpacePrefix: boolean): Metadata {
  const bytes = Array.from(
    { length: 256 },
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
  );
  const tokens = ["<unk>", "<s>", "</s>", ...bytes, "he", "▁t", "the", "▁the", "▁", "t", "h", "e"];
  const type = (id: number) => id === 0 ? 2 : id < 3 ? 3 : id < 259 ? 6 : 1;
  return withKeys({
    "tokenizer.ggml.model": [gguf.string, "llama"],
    "tokenizer.ggml.tokens": [gguf.array, [gguf.string, tokens]],
    "tokenizer.ggml.scores": [gguf.array, [gguf.f32, tokens.map((_, id) => 259 - id)]],
    "tokenizer.ggml.token_type": [gguf.array, [gguf.i32, tokens.map((_, id) => type(id))]],
    "tokenizer.ggml.add_space_prefix": [gguf.bool, addSpacePrefix],
  });
}

Deno.test("encode() merges SentencePiece's pieces by score and falls back to bytes", async () => {
  const { tokenizer } = await load(pieces(true));
  const texts = (text: string) => tokenizer.encode(text).map((id) => tokenizer.tokenText(id));
  // "he" scores above "▁t", so "▁the" comes of "▁t" + "he"; BOS is SentencePiece's default.
  assert.deepEqual(texts("the he"), ["<s>", "▁the", "▁", "he"]);
  assert.deepEqual(texts("é"), ["<s>", "▁", "<0xC3>", "<0xA9>"]);
  assert.deepEqual(texts("</s>t"), ["<s>", "</s>", "▁t"]);
});

Deno.test("encode() leaves out SentencePiece's space prefix where the file says so", async () => {
  const { tokenizer } = await load(pieces(false));
  for (const text of [" the é\n", "the", "  he"]) {
    const tokens = tokenizer.encode(text, { addSpecialTokens: false });
    assert.equal(tokenizer.decode(tokens), text);
  }
  const [first] = tokenizer.encode("the", { addSpecialTokens: false });
  assert.equal(tokenizer.tokenText(first as number), "the");
});

const digits: Record<string, [pre: string, tokens: string]> = {
  "smollm one by one": ["smollm", "1 1 1 1 1 1 1"],
  "qwen2 one by one": ["qwen2", "1 1 1 1 1 1 1"],
  "llama-bpe by up to three": ["llama-bpe", "111 111 1"],
  "gpt-2 all at once": ["gpt-2", "11 11 111"], // what the merges make of one piece
};
for (const [name, [pre, expected]] of Object.entries(digits)) {
  Deno.test(`encode() cuts seven digits as ${name}`, async () => {
    // Merges that would make one token of any run of ones.
    const runs = Array.from({ length: 7 }, (_, i) => "1".repeat(i + 1));
    const base = withKeys({ "tokenizer.ggml.pre": [gguf.string, pre] });
    const tokens = base.find(([key]) => key === "tokenizer.ggml.tokens")?.[2] as [number, string[]];
    const kept = tokens[1].filter((token) => token !== "the" && token !== "Ġthe" && token !== "th");
    const vocabulary = [...kept, ...runs.slice(1)];
    const metadata = base.map(([key, type, value]) => {
      if (key === "tokenizer.ggml.tokens") return [key, type, [gguf.string, vocabulary]] as const;
      if (key === "tokenizer.ggml.token_type") {
        return [key, type, [gguf.i32, vocabulary.map((_, id) => id < 3 ? 3 : 1)]] as const;
      }
      if (key === "tokenizer.ggml.merges") {
        return [key, type, [gguf.string, runs.slice(1).map((run) => `${run.slice(1)} 1`)]] as const;
      }
      return [key, type, value] as const;
    });
    const { tokenizer } = await load(metadata);
    const ids = tokenizer.encode("1111111", { addSpecialTokens: false });
    assert.equal(ids.map((id) => tokenizer.tokenText(id)).join(" "), expected);
  });
}

Deno.test("decode() leaves special tokens out when asked, and no others", () => {
  const tokens = tiny.encode("<|im_start|>user the<|im_end|>");
  assert.equal(tiny.decode(tokens), "<|im_start|>user the<|im_end|>");
  assert.equal(tiny.decode(tokens, { skipSpecialTokens: true }), "user the");
  assert.ok(tiny.isSpecial(tokens[0] as number));
  assert.ok(!tiny.isSpecial(tokens[1] as number));
});

Deno.test("decode() writes U+FFFD for half a character, and the character once it is whole", () => {
  const tokens = tiny.encode("é😀");
  assert.equal(tokens.length, 6);
  assert.equal(tiny.decode(tokens.slice(0, 1)), "\ufffd");
  assert.equal(tiny.decode(tokens.slice(0, 2)), "é");
  assert.ok(tiny.decode(tokens.slice(0, 4)).endsWith("\ufffd"));
  assert.equal(tiny.decode(tokens), "é😀");
  assert.equal(tiny.decode([]), "");
});

Deno.test("decode() of SentencePiece drops the prefix space only at the start", () => {
  const tokens = sentencePiece.encode("the the", { addSpecialTokens: false });
  assert.equal(sentencePiece.decode(tokens), "the the");
  assert.equal(sentencePiece.decode(tokens.slice(-1)).startsWith(" "), false);
  const cent = sentencePiece.encode("¢", { addSpecialTokens: false }).slice(-2);
  assert.deepEqual(cent.map((token) => sentencePiece.tokenText(token)), ["<0xC2>", "<0xA2>"]);
  assert.deepEqual(cent.map((token) => [...sentencePiece.tokenBytes(token)]), [[0xc2], [0xa2]]);
  assert.equal(sentencePiece.decode(cent.slice(0, 1)), "\ufffd");
});

Deno.test("ids beyond the vocabulary have no text and no bytes", () => {
  const check = (tokenizer: Tokenizer, id: number) => {
    assert.equal(tokenizer.tokenText(id), undefined);
    assert.equal(tokenizer.tokenBytes(id).length, 0);
    assert.equal(tokenizer.decode([id]), "");
  };
  for (const id of [tiny.vocabSize, 1e9, -1]) check(tiny, id);
  assert.equal(tiny.tokenText(tiny.vocabSize - 1), "Ġthe");
});

/**
 * What each part of a `tokenizer.json` and of the files beside it means.
 *
 * @module
 */
import assert from "node:assert/strict";
import { byteAlphabet } from "../../model/bpe.ts";
import { loadModel } from "../../model/load.ts";
import type { Model, Tokenizer } from "../../model/spec.ts";
import { assertRefused, ScratchFolder } from "./files.ts";
import { tinyTokenizer, writeTinyFolder } from "./tiny_hf.ts";

type Json = Readonly<Record<string, unknown>>;

/** The tiny folder with other files. */
async function loadFiles(files: Record<string, string | undefined>, more = {}): Promise<Model> {
  using folder = new ScratchFolder();
  return await loadModel(writeTinyFolder(folder, { files, ...more }));
}

const whole = tinyTokenizer();

/** The tiny tokenizer with parts of its file, and of its model, changed. */
async function tiny(changes: Json, model: Json = {}, config?: Json): Promise<Tokenizer> {
  const own = { ...whole, model: { ...(whole["model"] as Json), ...model }, ...changes };
  const files = {
    "tokenizer.json": JSON.stringify(own),
    ...(config ? { "tokenizer_config.json": JSON.stringify(config) } : {}),
  };
  return (await loadFiles(files)).tokenizer;
}

const shown = (tokenizer: Tokenizer, text: string, addSpecialTokens = false) =>
  tokenizer.encode(text, { addSpecialTokens }).map((id) => tokenizer.tokenText(id)).join(" ");

const bos = { SpecialToken: { id: "<bos>", type_id: 0 } };
const eos = { SpecialToken: { id: "<eos>", type_id: 0 } };
const text = { Sequence: { id: "A", type_id: 0 } };
const template = (...single: unknown[]) => ({ type: "TemplateProcessing", single });
const sequence = (...processors: unknown[]) => ({ type: "Sequence", processors });

const frames: readonly (readonly [processor: unknown, tokens: string])[] = [
  [null, "a"],
  [{ type: "ByteLevel" }, "a"],
  [template(text), "a"],
  [template(bos, text), "<bos> a"],
  [template(text, eos), "a <eos>"],
  [template(bos, text, eos), "<bos> a <eos>"],
  [template(eos, bos, text, eos, bos), "<eos> <bos> a <eos> <bos>"],
  [sequence({ type: "ByteLevel" }, template(bos, text)), "<bos> a"],
  [sequence(template(bos, text, bos), template(eos, text, eos)), "<eos> <bos> a <bos> <eos>"],
  [sequence(), "a"],
];

Deno.test("encode() puts around a text what the post-processor says, and only where asked", async () => {
  for (const [post_processor, expected] of frames) {
    const tokenizer = await tiny({ post_processor });
    assert.equal(shown(tokenizer, "a", true), expected);
    assert.equal(shown(tokenizer, "a"), "a");
  }
});

Deno.test("encode() knows the post-processor's token that another file names", async () => {
  const post_processor = template({ SpecialToken: { id: "<n>" } }, text);
  const added_tokens_decoder = { 258: { content: "<n>", special: true } };
  const vocab = Object.fromEntries(byteAlphabet.map((token, id) => [token, id + 2]));
  const model = { vocab, merges: [] };
  const tokenizer = await tiny({ post_processor }, model, { added_tokens_decoder });
  assert.equal(shown(tokenizer, "a", true), "<n> a");
  assert.equal(tokenizer.vocabSize, 259);
});

const refusedFrames: readonly (readonly [processor: Json, problem: string])[] = [
  [{ type: "BertProcessing" }, "post-processor BertProcessing is not supported"],
  [{ type: "Sequence" }, "post-processor Sequence is not supported"],
  [{ type: "TemplateProcessing" }, "post-processor TemplateProcessing is not supported"],
  [template(bos, eos), "the post-processor leaves the text out"],
  [template(text, text), "the post-processor's token undefined is not in the vocabulary"],
  [
    template({ Sequence: { id: "B" } }),
    "the post-processor's token undefined is not in the vocabulary",
  ],
  [
    template(text, { SpecialToken: { id: "<x>" } }),
    "the post-processor's token <x> is not in the vocabulary",
  ],
];

Deno.test("loadModel() says what it does not know of a post-processor", async () => {
  for (const [post_processor, problem] of refusedFrames) {
    await assertRefused(
      () => tiny({ post_processor }),
      new RegExp(
        `^Cannot open model .*tokenizer.json: its tokenizer is not supported: ${problem}$`,
      ),
    );
  }
});

/** How token texts become bytes; of a vocabulary of these. */
const pieces = ["▁", "a", "▁a", "<0xE9>", "<0xc3>", "Ġ", "<0x100>", "b"];
const [kept, stripped] = [" a a\ufffd\ufffdĠ<0x100>b", "a a\ufffd\ufffdĠ<0x100>b"];
const inBytes = "▁a▁a<0xE9><0xc3> <0x100>b";
const decoders: readonly (readonly [decoder: unknown, text: string])[] = [
  [{ type: "Fuse" }, kept],
  [{ type: "Sequence", decoders: [{ type: "Replace" }, { type: "ByteFallback" }] }, kept],
  [{ type: "Strip", start: 1, content: " " }, stripped],
  [{ type: "Strip", start: 0, content: " " }, kept],
  [{ type: "Strip", start: 1, content: "_" }, kept],
  [{ type: "Metaspace" }, stripped],
  [{ type: "Metaspace", prepend_scheme: "first" }, stripped],
  [{ type: "Metaspace", prepend_scheme: "never" }, kept],
  [{ type: "Sequence", decoders: [{ type: "Fuse" }, { type: "Metaspace" }] }, stripped],
  [{ type: "ByteLevel" }, inBytes],
  [{ type: "Sequence", decoders: [{ type: "ByteLevel" }] }, inBytes],
];

Deno.test("decode() makes texts of tokens as each decoder says", async () => {
  const vocab = Object.fromEntries(pieces.map((piece, id) => [piece, id + 2]));
  const ids = pieces.map((_, id) => id + 2);
  for (const [decoder, expected] of decoders) {
    const tokenizer = await tiny({ decoder, pre_tokenizer: null }, { vocab, merges: [] });
    assert.equal(tokenizer.decode(ids), expected, JSON.stringify(decoder));
    assert.equal(tokenizer.decode([0, 3]), "<bos>a", "added tokens are text");
  }
});

const unknownDecoders: readonly (readonly [decoder: unknown, problem: string])[] = [
  [null, "decoder none is unknown"],
  [{ type: "Sequence" }, "decoder none is unknown"],
  [{ type: "Sequence", decoders: [] }, "decoder none is unknown"],
  [{ type: "WordPiece" }, "decoder WordPiece is unknown"],
  [
    { type: "Sequence", decoders: [{ type: "ByteLevel" }, { type: "Fuse" }] },
    "decoder ByteLevel, Fuse is unknown",
  ],
];

Deno.test("loadModel() says what it does not know of a decoder", async () => {
  for (const [decoder, problem] of unknownDecoders) {
    await assertRefused(() => tiny({ decoder }), new RegExp(`not supported: ${problem}$`));
  }
});

const characters = (tokens: string) => ({
  vocab: Object.fromEntries([...tokens].map((token, id) => [token, id + 2])),
  merges: [] as unknown[],
});
const fuse = { pre_tokenizer: null, decoder: { type: "Fuse" } };

/** Fields of `model`, and what they make of a text. */
const models: readonly (readonly [model: Json, text: string, tokens: string])[] = [
  [{ vocab: { a: 2, b: 3, ab: 4 }, merges: ["a b"] }, "ab", "ab"],
  [{ vocab: { a: 2, b: 3, ab: 4 }, merges: [["a", "b"]] }, "ab", "ab"],
  [{ vocab: { a: 2, b: 3, ab: 4 }, merges: [] }, "ab", "a b"],
  [{ vocab: { a: 2, b: 3, ab: 4 }, merges: [], ignore_merges: true }, "ab", "ab"],
  [{ ...characters("ab?"), unk_token: "?" }, "axyb", "a ? ? b"],
  [{ ...characters("ab?"), unk_token: "?", fuse_unk: true }, "axyb", "a ? b"],
  [{ ...characters("ab?"), unk_token: null }, "axyb", "a b"],
  [{ vocab: { "<0x41>": 2 }, merges: [], byte_fallback: true }, "A", "<0x41>"],
  [{ vocab: { "<0x41>": 2 }, merges: [] }, "A", ""],
  [{ ...characters("a"), continuing_subword_prefix: "", end_of_word_suffix: null }, "a", "a"],
];

Deno.test("loadModel() takes each field of a BPE model", async () => {
  for (const [model, text, tokens] of models) {
    const added_tokens: unknown[] = [];
    const tokenizer = await tiny({ ...fuse, added_tokens }, model, {});
    assert.equal(shown(tokenizer, text), tokens, JSON.stringify(model));
  }
});

const extra = (token: Json) => ({ added_tokens: [{ id: 258, content: "<n>", ...token }] });
const refused: readonly (readonly [changes: Json, model: Json, problem: string])[] = [
  [{ model: [] }, {}, "model must be an object"],
  [{ model: { type: "BPE", merges: [] } }, {}, "model.vocab must be an object"],
  [{}, { vocab: [] }, "model.vocab must be an object"],
  [{}, { merges: {} }, "model.merges must be a list"],
  [{}, { merges: ["a b", 7] }, "merge 1 must be two tokens"],
  [
    {},
    { continuing_subword_prefix: "##" },
    "model.continuing_subword_prefix is not supported: current value is ##",
  ],
  [
    {},
    { end_of_word_suffix: "</w>" },
    "model.end_of_word_suffix is not supported: current value is </w>",
  ],
  [{}, { type: "WordPiece" }, "model type WordPiece is not supported; supported: BPE"],
  [{}, { vocab: { a: -1 } }, 'token "a" has the invalid id -1'],
  [{}, { vocab: { a: 0.5 } }, 'token "a" has the invalid id 0.5'],
  [{}, { vocab: { a: "1" } }, 'token "a" has the invalid id 1'],
  [{}, { vocab: { a: 4_194_304 } }, 'token "a" has the invalid id 4194304'],
  [
    {},
    { vocab: { ["a".repeat(90)]: -1 } },
    `token "${"a".repeat(79)} has the invalid id -1`,
  ],
  [{ added_tokens: {} }, {}, "added_tokens must be a list"],
  [{ added_tokens: ["<n>"] }, {}, "added_tokens must hold objects"],
  [extra({ content: "" }), {}, "added_tokens must have a content that is not empty"],
  [extra({ content: 7 }), {}, "added_tokens must have a content that is not empty"],
  [extra({ id: undefined }), {}, 'token "<n>" has the invalid id undefined'],
];

Deno.test("loadModel() says what is wrong with a tokenizer.json", async () => {
  for (const [changes, model, problem] of refused) {
    await assert.rejects(() => tiny(changes, model), (error: Error) => {
      assert.equal(error.name, "ModelError");
      assert.match(error.message, /^Cannot open tokenizer \/.*\/tokenizer.json: /);
      assert.ok(error.message.endsWith(`tokenizer.json: ${problem}`), error.message);
      return true;
    });
  }
});

Deno.test("loadModel() finds added tokens before or behind the normalizer, as each says", async () => {
  const normalizer = { type: "Replace", pattern: { String: "b" }, content: "a" };
  const of = (token: Json) => tiny({ ...extra(token), normalizer });
  assert.equal(shown(await of({ content: "ab", normalized: false }), "abaa"), "ab a a");
  assert.equal(shown(await of({ content: "ab", normalized: true }), "abaa"), "ab ab");
  assert.equal(shown(await of({ content: "ab" }), "abaa"), "ab ab", "where it does not say");
  const special = await of({ special: true });
  assert.deepEqual([special.isSpecial(258), special.isSpecial(257)], [true, false]);
  assert.equal((await of({ special: "yes" })).isSpecial(258), false);
});

type By = "caller" | "assistant";
type Span = readonly [start: number, end: number, by: By];
/** Tokens `<n>` (special, as it stands), `cat` and, behind the normalizer, `a`. */
const spans: readonly (readonly [text: string, literal: readonly Span[], tokens: string])[] = [
  ["<n>cat", [], "<n> cat"],
  ["<n>cat", [[0, 3, "caller"]], "< n > cat"],
  ["<n>cat", [[2, 4, "caller"]], "< n > c a t"],
  ["<n>cat", [[3, 6, "assistant"]], "<n> cat"],
  ["<n>cat", [[0, 6, "assistant"]], "< n > cat"],
  ["<n><n><n>", [[0, 3, "caller"], [6, 9, "caller"]], "< n > <n> < n >"],
  ["<n><n><n>", [[3, 6, "caller"]], "<n> < n > <n>"],
  ["<n><n>", [[1, 2, "assistant"], [4, 5, "caller"]], "< n > < n >"],
  ["cat cat", [[0, 1, "assistant"], [1, 3, "caller"]], "c a t Ġ cat"],
];

Deno.test("encode() finds no added token in a text that somebody wrote", async () => {
  for (const normalized of [false, true]) {
    const tokenizer = await tiny({
      added_tokens: [
        { id: 258, content: "<n>", special: true, normalized },
        { id: 259, content: "cat", special: false, normalized },
      ],
    });
    for (const [text, literal, expected] of spans) {
      const ids = tokenizer.encode(text, { addSpecialTokens: false, literal });
      const tokens = ids.map((id) => tokenizer.tokenText(id)).join(" ");
      assert.equal(tokens, expected, JSON.stringify([text, literal, normalized]));
    }
  }
});

Deno.test("encode() takes a normalized part for somebody's where it cannot tell", async () => {
  const normalizer = { type: "Replace", pattern: { String: "bb" }, content: "b" };
  const tokenizer = await tiny({ ...extra({ content: "cat" }), normalizer });
  const tokens = (text: string, ...literal: Span[]) =>
    tokenizer.encode(text, { addSpecialTokens: false, literal })
      .map((id) => tokenizer.tokenText(id)).join(" ");
  assert.equal(tokens("bbcat", [0, 2, "caller"]), "b c a t");
  assert.equal(tokens("bbcat", [0, 2, "assistant"]), "b cat");
  assert.equal(tokens("bcat", [0, 1, "caller"]), "b cat", "it has not moved");
});

const gpt2 = {
  "tokenizer.json": undefined,
  "vocab.json": JSON.stringify({
    ...Object.fromEntries(byteAlphabet.map((token, id) => [token, id + 4])),
    "<b>": 0,
    "<e>": 1,
    "<u>": 2,
    "<p>": 3,
  }),
  "merges.txt": "#version: 0.2\nt h\n\n",
};
const gpt2Names = { bos_token: "<b>", eos_token: "<e>", unk_token: "<u>", pad_token: "<p>" };
const gpt2Config = (config: Json) => ({
  ...gpt2,
  "tokenizer_config.json": JSON.stringify({ tokenizer_class: "GPT2Tokenizer", ...config }),
});

Deno.test("loadModel() reads what is beside GPT-2's two files", async () => {
  const { tokenizer } = await loadFiles(gpt2Config(gpt2Names));
  assert.equal(shown(tokenizer, "<b><e><u><p>x y", true), "<b> <e> <u> <p> x Ġ y");
  assert.ok([0, 1, 2, 3].every((id) => tokenizer.isSpecial(id)) && !tokenizer.isSpecial(4));
  const added = await loadFiles(gpt2Config({ ...gpt2Names, add_bos_token: true }));
  assert.equal(shown(added.tokenizer, "x", true), "<b> x");
  assert.equal(shown(added.tokenizer, "x"), "x");
  const spaced = await loadFiles(gpt2Config({ add_prefix_space: true }));
  assert.equal(shown(spaced.tokenizer, "x y"), "Ġ x Ġ y");
  const mapped = await loadFiles({
    ...gpt2Config({ tokenizer_class: "GPT2TokenizerFast" }),
    "special_tokens_map.json": JSON.stringify(gpt2Names),
  });
  assert.equal(shown(mapped.tokenizer, "<p>x"), "<p> x");
  assert.deepEqual([mapped.tokenizer.bosToken, mapped.tokenizer.eosToken], ["<b>", "<e>"]);
  const missing = /^Cannot open model \/.*\/tiny-llama: tokenizer.json is missing$/;
  for (
    const files of [
      gpt2Config({ tokenizer_class: "BertTokenizer" }),
      gpt2Config({ tokenizer_class: "XGPT2Tokenizer" }),
      gpt2Config({ tokenizer_class: "GPT2TokenizerSlow" }),
      gpt2Config({ tokenizer_class: 7 }),
      { ...gpt2Config({}), "vocab.json": undefined },
      { ...gpt2Config({}), "merges.txt": undefined },
    ]
  ) {
    await assertRefused(() => loadFiles(files), missing);
  }
});

Deno.test("loadModel() names BOS and EOS by the configuration, else by the map", async () => {
  const of = async (config: Json, map: Json) => {
    const { tokenizer } = await loadFiles({
      "tokenizer_config.json": JSON.stringify(config),
      "special_tokens_map.json": JSON.stringify(map),
    });
    return [tokenizer.bosToken, tokenizer.eosToken];
  };
  const named = { bos_token: "<bos>", eos_token: { content: "<eos>" } };
  assert.deepEqual(await of(named, {}), ["<bos>", "<eos>"]);
  assert.deepEqual(await of({}, named), ["<bos>", "<eos>"]);
  const turned = { bos_token: "<eos>", eos_token: "<bos>" };
  assert.deepEqual(await of(turned, named), ["<eos>", "<bos>"]);
  assert.deepEqual(await of({ bos_token: null, eos_token: 7 }, {}), [undefined, undefined]);
});

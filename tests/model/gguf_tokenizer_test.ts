/**
 * What each key of `tokenizer.ggml.*` means.
 *
 * @module
 */
import assert from "node:assert/strict";
import { byteAlphabet, byteTokens } from "../../model/bpe.ts";
import { Fields } from "../../model/fields.ts";
import { ggufTokenizer } from "../../model/gguf_tokenizer.ts";

type Values = Readonly<Record<string, unknown>>;

const open = (values: Values, numRows = 1000) =>
  ggufTokenizer(
    new Fields(
      "m",
      "metadata key",
      new Map(Object.entries(values).map(([key, value]) => [`tokenizer.ggml.${key}`, value])),
    ),
    numRows,
  );

/** Tokens of a text, by their texts. */
function encoded(values: Values, text: string, addSpecialTokens = false): string {
  const { tokenizer } = open(values);
  return tokenizer.encode(text, { addSpecialTokens }).map((id) => tokenizer.tokenText(id)).join(
    " ",
  );
}

const [NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED] = [1, 2, 3, 4, 5];

/** A byte-level vocabulary: all bytes, these tokens, and merges that make the first of them. */
function byteLevel(more: readonly string[] = [], changes: Values = {}): Values {
  return {
    model: "gpt2",
    pre: "gpt-2",
    tokens: [...byteAlphabet, ...more],
    merges: [],
    ...changes,
  };
}

const ones = ["11", "111", "1111"];
const oneMerges = ["1 1", "11 1", "111 1"];
const ALONE = "1 1 1 1";

/** By name: how four ones are cut, whether BOS is added, NFC made, a word kept whole, `'S` cut off. */
const rules: Readonly<
  Record<string, readonly [ones: string, bos: boolean, nfc: boolean, whole: boolean, s: boolean]>
> = {
  "gpt-2": ["11 11", false, false, false, false],
  "smollm": [ALONE, false, false, false, false],
  "llama3": ["111 1", true, false, true, true],
  "llama-v3": ["111 1", true, false, true, true],
  "llama-bpe": ["111 1", true, false, true, true],
  "qwen2": [ALONE, false, true, false, true],
  "deepseek-r1-qwen": [ALONE, false, true, false, true],
};

for (const [pre, [cut, addsBos, composes, keepsWhole, cutsS]] of Object.entries(rules)) {
  Deno.test(`ggufTokenizer() cuts and merges as ${pre} does`, () => {
    const values = byteLevel([...ones, "whole", "<s>", "aS", "'S"], {
      pre,
      merges: [...oneMerges, "a '", "' S"],
      bos_token_id: 260,
    });
    assert.equal(encoded(values, "1111"), cut);
    assert.equal(encoded(values, "1", true), addsBos ? "<s> 1" : "1");
    assert.equal(encoded(values, "e\u0301"), composes ? "Ã ©" : "e Ì ģ");
    assert.equal(encoded(values, "whole"), keepsWhole ? "whole" : "w h o l e");
    // GPT-2's expression knows small letters alone: `'` and `S` are pieces of their own.
    assert.equal(encoded(values, "a'S"), cutsS ? "a 'S" : "a ' S");
    const own = { ...values, add_bos_token: !addsBos };
    assert.equal(encoded(own, "1", true), addsBos ? "1" : "<s> 1");
  });
}

Deno.test("ggufTokenizer() knows tokens by their kinds", () => {
  const more = ["normal", "unknown", "control", "user", "unused"];
  const kinds = [NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED];
  const token_type = Int32Array.from([...byteAlphabet.map(() => NORMAL), ...kinds]);
  const { tokenizer } = open(byteLevel(more, { token_type }));
  const isOne = (text: string) => tokenizer.encode(text, { addSpecialTokens: false }).length === 1;
  assert.deepEqual(more.map(isOne), [false, true, true, true, false]);
  assert.deepEqual(more.map((_, i) => tokenizer.isSpecial(256 + i)), [
    false,
    true,
    true,
    false,
    false,
  ]);
  const { tokenizer: untyped } = open(byteLevel(more));
  assert.ok(more.every((text) => untyped.encode(text).length === text.length));
});

const ends = ["<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|endoftext|>"];

Deno.test("ggufTokenizer() ends texts at the tokens that are named, and at those of chats", () => {
  const kinds = (kind: number) =>
    Int32Array.from([...byteAlphabet.map(() => NORMAL), ...ends.map(() => kind)]);
  const endsOf = (changes: Values) => open(byteLevel(ends, changes)).eosTokenIds;
  assert.deepEqual(endsOf({ token_type: kinds(CONTROL) }), [256, 257, 258, 259, 260]);
  assert.deepEqual(endsOf({ token_type: kinds(NORMAL) }), []);
  assert.deepEqual(endsOf({ eos_token_id: 3, eot_token_id: 2, eom_token_id: 1 }), [3, 2, 1]);
  assert.deepEqual(endsOf({ eos_token_id: 3, eot_token_id: 3 }), [3]);
  for (const [i, end] of ends.entries()) {
    const values = byteLevel([end], {
      token_type: Int32Array.from([...byteAlphabet.map(() => NORMAL), CONTROL]),
      eos_token_id: 0,
    });
    assert.deepEqual(open(values).eosTokenIds, [0, 256], `${i}`);
  }
});

Deno.test("ggufTokenizer() names BOS and EOS, and puts them around a text where it is told to", () => {
  const borders = { bos_token_id: 256, eos_token_id: 257 };
  const of = (changes: Values) => byteLevel(["<s>", "</s>"], { ...borders, ...changes });
  const { tokenizer } = open(of({}));
  assert.deepEqual([tokenizer.bosToken, tokenizer.eosToken], ["<s>", "</s>"]);
  const none = open(byteLevel()).tokenizer;
  assert.deepEqual([none.bosToken, none.eosToken], [undefined, undefined]);
  assert.equal(encoded(of({}), "a", true), "a");
  assert.equal(encoded(of({ add_bos_token: true }), "a", true), "<s> a");
  assert.equal(encoded(of({ add_eos_token: true }), "a", true), "a </s>");
  assert.equal(encoded(of({ add_bos_token: true, add_eos_token: true }), "a", true), "<s> a </s>");
  assert.equal(encoded(of({ add_bos_token: true }), "a"), "a");
});

/** A SentencePiece vocabulary: unknown, BOS, bytes, pieces with their scores. */
function sentencePiece(pieces: readonly (readonly [string, number])[], changes: Values = {}) {
  const tokens = ["<unk>", "<s>", ...byteTokens, ...pieces.map(([piece]) => piece)];
  const scores = [...Array(258).fill(0), ...pieces.map(([, score]) => score)];
  const kinds = [UNKNOWN, CONTROL, ...byteTokens.map(() => 6), ...pieces.map(() => NORMAL)];
  return {
    model: "llama",
    tokens,
    scores: Float32Array.from(scores),
    token_type: Int32Array.from(kinds),
    bos_token_id: 1,
    ...changes,
  };
}

const letters = [["▁", -9], ["a", -9], ["b", -9], ["c", -9]] as const;

Deno.test("ggufTokenizer() merges SentencePiece's pieces by score, then by the ids of their parts", () => {
  const cases: readonly (readonly [
    pieces: readonly (readonly [string, number])[],
    text: string,
    expected: string,
  ])[] = [
    [[["ab", -1], ["bc", -2]], "abc", "ab c"],
    [[["ab", -2], ["bc", -1]], "abc", "a bc"],
    [[["ab", -1], ["bc", -1]], "abc", "ab c"],
    [[["bc", -1], ["ab", -1]], "abc", "ab c"],
    // Both pairs make the same piece: that of the smaller left part goes first.
    [[["aa", -3], ["aaa", -1]], "aaa", "aaa"],
    [[["abc", -1]], "abc", "a b c"],
    [[["▁a", -1]], "a", "▁a"],
    [[["▁a", -1]], "b a", "▁ b ▁a"],
  ];
  for (const [pieces, text, expected] of cases) {
    const full = text.startsWith("b") || expected.startsWith("▁") ? expected : `▁ ${expected}`;
    assert.equal(encoded(sentencePiece([...letters, ...pieces]), text), full, text);
  }
});

Deno.test("ggufTokenizer() gives SentencePiece its space, BOS and bytes", () => {
  const of = (changes: Values = {}) => sentencePiece(letters, changes);
  assert.equal(encoded(of(), "a b", true), "<s> ▁ a ▁ b");
  assert.equal(encoded(of({ add_bos_token: false }), "a", true), "▁ a");
  assert.equal(encoded(of({ add_space_prefix: false }), "a b"), "a ▁ b");
  assert.equal(encoded(of(), "é\n"), "▁ <0xC3> <0xA9> <0x0A>");
  const decode = (changes: Values, text: string) => {
    const { tokenizer } = open(of(changes));
    return tokenizer.decode(tokenizer.encode(text, { addSpecialTokens: false }));
  };
  for (const text of ["a b", " a", "é\n"]) {
    assert.equal(decode({}, text), text);
    assert.equal(decode({ add_space_prefix: false }, text), text);
  }
});

Deno.test("ggufTokenizer() writes what has no bytes as one unknown token", () => {
  const values = {
    model: "llama",
    tokens: ["<unk>", "▁", "a"],
    scores: new Float32Array(3),
    token_type: Int32Array.of(UNKNOWN, NORMAL, NORMAL),
    add_bos_token: false,
  };
  assert.equal(encoded(values, "éxay"), "▁ <unk> a <unk>");
});

const long = (length: number, kind = NORMAL) => {
  const values = sentencePiece([["x".repeat(length), -1]]);
  const token_type = values.token_type.slice();
  token_type[258] = kind;
  return { ...values, token_type };
};
const refused: readonly (readonly [values: Values, problem: string, numRows?: number])[] = [
  [
    byteLevel([], { model: "bert" }),
    "tokenizer model bert is not supported; supported: gpt2, llama",
  ],
  [
    byteLevel([], { pre: "default" }),
    "pre-tokenizer default is not supported; supported: gpt-2, smollm, llama3, llama-v3, " +
    "llama-bpe, qwen2, deepseek-r1-qwen",
  ],
  [
    byteLevel(),
    "tokenizer.ggml.tokens must hold 1 to 255 tokens, the rows of the embedding: it holds 256",
    255,
  ],
  [
    byteLevel([], { tokens: [] }),
    "tokenizer.ggml.tokens must hold 1 to 1000 tokens, the rows of the embedding: it holds 0",
  ],
  [
    byteLevel([], { token_type: Int32Array.of(1) }),
    "tokenizer.ggml.token_type must hold 256 values: it holds 1",
  ],
  [
    { ...sentencePiece(letters), scores: new Float32Array(3) },
    "tokenizer.ggml.scores must hold 262 values: it holds 3",
  ],
  [long(129), "token 258 must have at most 128 characters"],
  [
    byteLevel([], { add_bos_token: true }),
    "add_bos_token is true, but there is no BOS token",
  ],
  [
    byteLevel([], { add_eos_token: true }),
    "add_eos_token is true, but there is no EOS token",
  ],
  ...["bos", "eos", "eot", "eom"].map((name) =>
    [
      byteLevel([], { [`${name}_token_id`]: 256 }),
      `metadata key tokenizer.ggml.${name}_token_id must be a whole number from 0 to 255: ` +
      "current value is 256",
    ] as const
  ),
  [byteLevel([], { merges: undefined }), "metadata key tokenizer.ggml.merges is missing"],
  [
    { ...sentencePiece(letters), scores: undefined },
    "metadata key tokenizer.ggml.scores is missing",
  ],
];

Deno.test("ggufTokenizer() says what is wrong with a vocabulary", () => {
  for (const [values, problem, numRows] of refused) {
    assert.throws(() => open(values, numRows), {
      name: "ModelError",
      message: `Cannot open model m: ${problem}`,
    });
  }
  assert.equal(open(byteLevel(), 256).tokenizer.vocabSize, 256);
  assert.equal(open(long(128)).tokenizer.vocabSize, 259);
  assert.equal(open(long(129, CONTROL)).tokenizer.vocabSize, 259);
});

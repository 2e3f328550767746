/**
 * The tokenizer inside a GGUF file, brought into the shape of a `tokenizer.json`.
 *
 * The file holds tokens, their kinds and either merges or scores. How text is cut before merging is
 * only named there (`tokenizer.ggml.pre`); llama.cpp's source is what the name means, so a name
 * that is not in the table below is an error: a near miss would give other tokens without any sign
 * of it.
 *
 * @module
 */
import type { Fields, Numbers } from "./fields.ts";
import type { Tokenizer } from "./spec.ts";
import type { BpeRules } from "./bpe.ts";
import { GPT2_PATTERN, LLAMA3_PATTERN, QWEN2_PATTERN } from "./scanners.ts";
import { type AddedTokenJson, createTokenizer, type TokenizerJson } from "./tokenizer.ts";

/** How a byte-level tokenizer cuts text before merging. */
interface Pretokenizer {
  /** Applied one after the other, each to the pieces that the last one left. */
  readonly patterns: readonly string[];
  /** Unicode NFC before all else, as the model's own tokenizer does it. */
  readonly normalizes: boolean;
  /** A piece that is a token by itself is never merged from smaller ones. */
  readonly ignoreMerges: boolean;
  /** Where the file does not say. */
  readonly addBos: boolean;
}

const GPT2_RULE: Pretokenizer = {
  patterns: [GPT2_PATTERN],
  normalizes: false,
  ignoreMerges: false,
  addBos: false,
};
const SMOL_LM_RULE: Pretokenizer = { ...GPT2_RULE, patterns: ["\\p{N}", GPT2_PATTERN] };
const LLAMA3_RULE: Pretokenizer = {
  patterns: [LLAMA3_PATTERN],
  normalizes: false,
  ignoreMerges: true,
  addBos: true,
};
const QWEN2_RULE: Pretokenizer = {
  patterns: [QWEN2_PATTERN],
  normalizes: true,
  ignoreMerges: false,
  addBos: false,
};

/** By `tokenizer.ggml.pre`. */
const PRETOKENIZERS: ReadonlyMap<string, Pretokenizer> = new Map([
  ["gpt-2", GPT2_RULE],
  ["smollm", SMOL_LM_RULE],
  ["llama3", LLAMA3_RULE],
  ["llama-v3", LLAMA3_RULE],
  ["llama-bpe", LLAMA3_RULE],
  ["qwen2", QWEN2_RULE],
  ["deepseek-r1-qwen", QWEN2_RULE],
]);

/** `tokenizer.ggml.token_type`. */
const NORMAL = 1;
const UNKNOWN = 2;
const CONTROL = 3;
const USER_DEFINED = 4;

/** SentencePiece's own limit is 16; all ways to cut a piece are tried, which takes its square. */
const LONGEST_PIECE = 128;

/** Control tokens by which the chat formats of the supported families end a turn or a text. */
const ENDS_OF_TEXT = ["<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|endoftext|>"];

/**
 * The tokenizer of a GGUF file and the ids that end a text.
 *
 * @param vocabSize rows of the embedding; there may be fewer tokens, never more
 * @throws {ModelError}
 */
export function ggufTokenizer(
  metadata: Fields,
  vocabSize: number,
): { readonly tokenizer: Tokenizer; readonly eosTokenIds: readonly number[] } {
  const model = metadata.string("tokenizer.ggml.model");
  const vocabulary = readVocabulary(metadata, vocabSize);
  const parts = model === "gpt2"
    ? byteLevel(metadata, vocabulary)
    : model === "llama"
    ? sentencePiece(metadata, vocabulary)
    : metadata.fail(`tokenizer model ${model} is not supported; supported: gpt2, llama`);

  const special = (key: string): number | undefined =>
    metadata.has(key) ? metadata.integer(key, 0, vocabulary.tokens.length - 1) : undefined;
  const textOf = (id: number | undefined) => id === undefined ? undefined : vocabulary.tokens[id];
  const bos = special("tokenizer.ggml.bos_token_id");
  const eos = special("tokenizer.ggml.eos_token_id");
  const added = addedTokens(vocabulary);
  const tokenizer = createTokenizer(
    "from GGUF metadata",
    {
      ...parts.json,
      added_tokens: added,
      post_processor: postProcessor(metadata, parts.addBos, textOf(bos), textOf(eos)),
    },
    parts.rules,
    { bosToken: textOf(bos), eosToken: textOf(eos) },
  );

  const ends = [eos, special("tokenizer.ggml.eot_token_id"), special("tokenizer.ggml.eom_token_id")]
    .concat(ENDS_OF_TEXT.map((text) => added.find((token) => token.content === text)?.id));
  return { tokenizer, eosTokenIds: [...new Set(ends.filter((id) => id !== undefined))] };
}

interface Vocabulary {
  readonly tokens: readonly string[];
  readonly kinds: Numbers;
  readonly ids: ReadonlyMap<string, number>;
}

function readVocabulary(metadata: Fields, vocabSize: number): Vocabulary {
  const tokens = metadata.strings("tokenizer.ggml.tokens");
  if (tokens.length === 0 || tokens.length > vocabSize) {
    metadata.fail(
      `tokenizer.ggml.tokens must hold 1 to ${vocabSize} tokens, the rows of the embedding: ` +
        `it holds ${tokens.length}`,
    );
  }
  const kinds = metadata.numbers(
    "tokenizer.ggml.token_type",
    new Int32Array(tokens.length).fill(NORMAL),
  );
  if (kinds.length !== tokens.length) {
    metadata.fail(
      `tokenizer.ggml.token_type must hold ${tokens.length} values: it holds ${kinds.length}`,
    );
  }
  const ids = new Map<string, number>();
  for (const [id, token] of tokens.entries()) ids.set(token, id);
  return { tokens, kinds, ids };
}

/** What the two kinds of tokenizer differ in. */
interface TokenizerParts {
  readonly json: Pick<TokenizerJson, "normalizer" | "pre_tokenizer" | "decoder">;
  readonly rules: BpeRules;
  /** BOS is added where the file does not say. */
  readonly addBos: boolean;
}

function byteLevel(metadata: Fields, vocabulary: Vocabulary): TokenizerParts {
  const pre = metadata.string("tokenizer.ggml.pre");
  const rule = PRETOKENIZERS.get(pre) ?? metadata.fail(
    `pre-tokenizer ${pre} is not supported; supported: ${[...PRETOKENIZERS.keys()].join(", ")}`,
  );
  const ranks = new Map<string, number>();
  for (const [rank, merge] of metadata.strings("tokenizer.ggml.merges").entries()) {
    ranks.set(merge, rank);
  }
  const splits = rule.patterns.map((pattern) => ({
    type: "Split",
    pattern: { Regex: pattern },
    behavior: "Isolated",
    invert: false,
  }));
  return {
    json: {
      normalizer: rule.normalizes ? { type: "NFC" } : null,
      pre_tokenizer: {
        type: "Sequence",
        pretokenizers: [...splits, {
          type: "ByteLevel",
          add_prefix_space: false,
          use_regex: false,
        }],
      },
      decoder: { type: "ByteLevel" },
    },
    rules: {
      ids: vocabulary.ids,
      ranks,
      ignoreMerges: rule.ignoreMerges,
      byteFallback: false,
      unknown: undefined,
      fuseUnknown: false,
    },
    addBos: rule.addBos,
  };
}

function sentencePiece(metadata: Fields, vocabulary: Vocabulary): TokenizerParts {
  const unknown = Array.from(vocabulary.kinds, Number).indexOf(UNKNOWN);
  const prefix = metadata.boolean("tokenizer.ggml.add_space_prefix", true);
  const scores = metadata.numbers("tokenizer.ggml.scores");
  if (scores.length !== vocabulary.tokens.length) {
    metadata.fail(
      `tokenizer.ggml.scores must hold ${vocabulary.tokens.length} values: it holds ${scores.length}`,
    );
  }
  const long = vocabulary.tokens.findIndex((token, id) =>
    token.length > LONGEST_PIECE && Number(vocabulary.kinds[id]) === NORMAL
  );
  if (long >= 0) metadata.fail(`token ${long} must have at most ${LONGEST_PIECE} characters`);
  const spaces = { type: "Replace", pattern: { String: " " }, content: "▁" };
  const decoders = [
    { type: "Replace", pattern: { String: "▁" }, content: " " },
    { type: "ByteFallback" },
    { type: "Fuse" },
  ];
  return {
    json: {
      normalizer: prefix
        ? { type: "Sequence", normalizers: [{ type: "Prepend", prepend: "▁" }, spaces] }
        : spaces,
      pre_tokenizer: null,
      decoder: {
        type: "Sequence",
        decoders: prefix
          ? [...decoders, { type: "Strip", content: " ", start: 1, stop: 0 }]
          : decoders,
      },
    },
    rules: {
      ids: vocabulary.ids,
      ranks: ranksFromScores(vocabulary, scores),
      ignoreMerges: false,
      byteFallback: true,
      unknown: vocabulary.tokens[unknown],
      fuseUnknown: true,
    },
    addBos: true,
  };
}

/**
 * Merge rules of a SentencePiece BPE vocabulary, best first. A token of score s can arise from any
 * two tokens that it splits into; SentencePiece merges the pair whose result scores highest, so the
 * rules are ordered by the result's score, and among its splits by the ids of the parts.
 */
function ranksFromScores(
  { tokens, kinds, ids }: Vocabulary,
  scores: Numbers,
): Map<string, number> {
  const rules: { merge: string; score: number; left: number; right: number }[] = [];
  for (const [id, token] of tokens.entries()) {
    if (Number(kinds[id]) !== NORMAL) continue;
    for (let cut = 1; cut < token.length; cut++) {
      const left = ids.get(token.slice(0, cut));
      const right = ids.get(token.slice(cut));
      if (left === undefined || right === undefined) continue;
      const merge = `${token.slice(0, cut)} ${token.slice(cut)}`;
      rules.push({ merge, score: Number(scores[id]), left, right });
    }
  }
  rules.sort((a, b) => b.score - a.score || a.left - b.left || a.right - b.right);
  return new Map(rules.map(({ merge }, rank) => [merge, rank]));
}

function addedTokens({ tokens, kinds }: Vocabulary): AddedTokenJson[] {
  const added: AddedTokenJson[] = [];
  for (const [id, content] of tokens.entries()) {
    const kind = Number(kinds[id]);
    if (content === "" || kind !== CONTROL && kind !== USER_DEFINED && kind !== UNKNOWN) continue;
    added.push({ id, content, special: kind !== USER_DEFINED, normalized: false });
  }
  return added;
}

function postProcessor(
  metadata: Fields,
  addBosByDefault: boolean,
  bos: string | undefined,
  eos: string | undefined,
): unknown {
  const addBos = metadata.boolean("tokenizer.ggml.add_bos_token", addBosByDefault);
  const addEos = metadata.boolean("tokenizer.ggml.add_eos_token", false);
  if (addBos && bos === undefined) {
    metadata.fail("add_bos_token is true, but there is no BOS token");
  }
  if (addEos && eos === undefined) {
    metadata.fail("add_eos_token is true, but there is no EOS token");
  }
  const special = (id: string | undefined) => ({ SpecialToken: { id, type_id: 0 } });
  return {
    type: "TemplateProcessing",
    single: [
      ...(addBos ? [special(bos)] : []),
      { Sequence: { id: "A", type_id: 0 } },
      ...(addEos ? [special(eos)] : []),
    ],
  };
}

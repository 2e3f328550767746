/**
 * The tokenizer of a Hugging Face folder: `tokenizer.json`, and what `tokenizer_config.json` adds.
 *
 * @module
 */
import { join } from "node:path";
import type { BpeRules } from "./bpe.ts";
import { createChatTemplate, TOOL_USE } from "./chat_template.ts";
import { shownValue } from "./fields.ts";
import { readJsonObject, readTextFile } from "./json_file.ts";
import { type KnownTokens, tokenContent, withNamedTokens } from "./named_tokens.ts";
import { type ChatTemplate, ModelError, type Tokenizer } from "./spec.ts";
import { type AddedTokenJson, createTokenizer, type TokenizerJson } from "./tokenizer.ts";

const MAX_TOKENIZER_BYTES = 1 << 27;
const MAX_CONFIG_BYTES = 1 << 24;

/** The tokenizer of a folder and the chat templates beside it. */
export interface HfTokenizer {
  readonly tokenizer: Tokenizer;
  readonly chatTemplate: ChatTemplate | undefined;
  readonly toolUseTemplate: ChatTemplate | undefined;
  /** Transformers' class, where the folder names one. */
  readonly tokenizerClass: string | undefined;
}

/**
 * Read the tokenizer of a folder.
 *
 * @param numRows of the model's embedding: tokens that only a configuration names may fill them up
 * @throws {ModelError} when there is none or it is of a kind that is not supported
 */
export function readHfTokenizer(folder: string, numRows: number): HfTokenizer {
  const path = join(folder, "tokenizer.json");
  const read = (name: string) => readJsonObject(join(folder, name), MAX_CONFIG_BYTES) ?? {};
  const config = read("tokenizer_config.json");
  const special = read("special_tokens_map.json");
  const borders = {
    bosToken: tokenContent(config["bos_token"] ?? special["bos_token"]),
    eosToken: tokenContent(config["eos_token"] ?? special["eos_token"]),
  };
  const json = readJsonObject(path, MAX_TOKENIZER_BYTES) ??
    readGpt2Files(folder, { ...special, ...config });
  const files = {
    tokenizerConfig: config,
    specialTokensMap: special,
    addedTokens: read("added_tokens.json"),
  };
  const { parts, rules } = readTokenizerJson(
    path,
    json,
    (known, fail) => withNamedTokens(known, files, numRows, fail),
  );
  const tokenizer = createTokenizer(path, parts, rules, borders);
  // Files of their own go before what `tokenizer_config.json` has, as in Transformers.
  const own = (...path: string[]) => readTextFile(join(folder, ...path), MAX_CONFIG_BYTES);
  const chat = own("chat_template.jinja");
  const listed = chat === undefined ? config["chat_template"] : undefined;
  const toolUse = own("additional_chat_templates", `${TOOL_USE}.jinja`);
  const compile = (template: string | undefined) =>
    template === undefined ? undefined : createChatTemplate(template, tokenizer);
  return {
    tokenizer,
    chatTemplate: compile(chat ?? listedTemplate(listed, "default")),
    toolUseTemplate: compile(toolUse ?? listedTemplate(listed, TOOL_USE)),
    tokenizerClass: typeof config["tokenizer_class"] === "string"
      ? config["tokenizer_class"]
      : undefined,
  };
}

/**
 * The older form of GPT-2's tokenizer, which OPT's repositories still have, as a `tokenizer.json`.
 */
function readGpt2Files(folder: string, config: Record<string, unknown>): Record<string, unknown> {
  const vocab = readJsonObject(join(folder, "vocab.json"), MAX_TOKENIZER_BYTES);
  const merges = readTextFile(join(folder, "merges.txt"), MAX_TOKENIZER_BYTES);
  const kind = config["tokenizer_class"];
  if (
    !vocab || merges === undefined || typeof kind !== "string" ||
    !/^GPT2Tokenizer(Fast)?$/.test(kind)
  ) {
    throw new ModelError(`Cannot open model ${folder}: tokenizer.json is missing`);
  }
  const named = ["bos_token", "eos_token", "unk_token", "pad_token"].map((key) =>
    tokenContent(config[key])
  );
  const control = [...new Set(named)].filter((token) =>
    token !== undefined && Object.hasOwn(vocab, token)
  ) as string[];
  const bos = config["add_bos_token"] === true ? tokenContent(config["bos_token"]) : undefined;
  return {
    model: {
      type: "BPE",
      vocab,
      merges: merges.split(/\r?\n/).filter((line) => line !== "" && !line.startsWith("#version")),
    },
    pre_tokenizer: {
      type: "ByteLevel",
      add_prefix_space: config["add_prefix_space"] === true,
      use_regex: true,
    },
    decoder: { type: "ByteLevel" },
    post_processor: bos === undefined ? null : {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: bos, type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
    },
    added_tokens: control.map((content) => ({ content, id: vocab[content], special: true })),
  };
}

/** Out of a list of named ones; one that stands alone is `default`, which is for chats. */
function listedTemplate(templates: unknown, name: string): string | undefined {
  if (typeof templates === "string") return name === "default" ? templates : undefined;
  if (!Array.isArray(templates)) return undefined;
  const named = templates.find((entry) => entry?.name === name);
  return typeof named?.template === "string" ? named.template : undefined;
}

/** @param complete adds to the added tokens those that other files name */
function readTokenizerJson(
  path: string,
  json: Record<string, unknown>,
  complete: (known: KnownTokens, fail: Fail) => AddedTokenJson[],
): { parts: TokenizerJson; rules: BpeRules } {
  const fail = (problem: string): never => {
    throw new ModelError(`Cannot open tokenizer ${path}: ${problem}`);
  };
  const model = asObject(json["model"]) ?? fail("model must be an object");
  // Files of before tokenizers 0.9 have no type; then the merges tell.
  const type = model["type"] ?? (Array.isArray(model["merges"]) ? "BPE" : "none");
  if (type !== "BPE") fail(`model type ${shownValue(type)} is not supported; supported: BPE`);
  for (const key of ["continuing_subword_prefix", "end_of_word_suffix"]) {
    if (model[key]) {
      fail(`model.${key} is not supported: current value is ${shownValue(model[key])}`);
    }
  }

  const vocab = asObject(model["vocab"]) ?? fail("model.vocab must be an object");
  const ids = new Map<string, number>();
  for (const [token, id] of Object.entries(vocab)) ids.set(token, checkId(token, id, fail));
  const added = asArray(json["added_tokens"] ?? []) ?? fail("added_tokens must be a list");
  const addedTokens = added.map((entry) => {
    const token = asObject(entry) ?? fail("added_tokens must hold objects");
    const content = token["content"];
    if (typeof content !== "string" || content === "") {
      return fail("added_tokens must have a content that is not empty");
    }
    const id = checkId(content, token["id"], fail);
    ids.set(content, id);
    return { ...token, content, id, special: token["special"] === true };
  });
  const completed = complete({ ids, added: addedTokens }, fail);
  for (const { content, id } of completed) ids.set(content, id);

  return {
    parts: {
      normalizer: json["normalizer"] ?? null,
      pre_tokenizer: json["pre_tokenizer"] ?? null,
      post_processor: json["post_processor"] ?? null,
      decoder: (json["decoder"] ?? null) as TokenizerJson["decoder"],
      added_tokens: completed,
    },
    rules: {
      ids,
      ranks: readMerges(model["merges"], fail),
      ignoreMerges: model["ignore_merges"] === true,
      byteFallback: model["byte_fallback"] === true,
      unknown: typeof model["unk_token"] === "string" ? model["unk_token"] : undefined,
      fuseUnknown: model["fuse_unk"] === true,
    },
  };
}

type Fail = (problem: string) => never;

/** Merges are written `"left right"`, or as pairs since tokens may hold spaces. */
function readMerges(merges: unknown, fail: Fail): Map<string, number> {
  const ranks = new Map<string, number>();
  for (const [rank, merge] of (asArray(merges) ?? fail("model.merges must be a list")).entries()) {
    const rule = Array.isArray(merge) ? merge.join(" ") : merge;
    if (typeof rule !== "string") fail(`merge ${rank} must be two tokens`);
    ranks.set(rule as string, rank);
  }
  return ranks;
}

/** Ids index arrays: one beyond any vocabulary would take the memory of all below it. */
function checkId(token: string, id: unknown, fail: Fail): number {
  if (!Number.isInteger(id) || (id as number) < 0 || (id as number) >= 1 << 22) {
    fail(`token ${JSON.stringify(token).slice(0, 80)} has the invalid id ${shownValue(id)}`);
  }
  return id as number;
}

function asObject(value: unknown): Record<string, unknown> | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? value as Record<string, unknown>
    : undefined;
}

function asArray(value: unknown): readonly unknown[] | undefined {
  return Array.isArray(value) ? value : undefined;
}

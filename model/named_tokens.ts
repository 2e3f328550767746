/**
 * Tokens that a folder names beside its `tokenizer.json`.
 *
 * Fine-tunes add tokens in `tokenizer_config.json` or `added_tokens.json` alone, and Transformers
 * knows them then; without them a chat's control tokens would fall apart into letters.
 *
 * @module
 */
import { shownValue } from "./fields.ts";
import type { AddedTokenJson } from "./tokenizer.ts";

/** JSON objects of a folder, as they stand; empty where there is no such file. */
export interface TokenFiles {
  readonly tokenizerConfig: Readonly<Record<string, unknown>>;
  readonly specialTokensMap: Readonly<Record<string, unknown>>;
  /** `added_tokens.json`: ids by text. */
  readonly addedTokens: Readonly<Record<string, unknown>>;
}

/** What `tokenizer.json` holds already. */
export interface KnownTokens {
  /** By text, added tokens included. */
  readonly ids: ReadonlyMap<string, number>;
  readonly added: readonly AddedTokenJson[];
}

const NAMES = ["bos", "eos", "unk", "sep", "pad", "cls", "mask"].map((name) => `${name}_token`);
const LISTS = ["additional_special_tokens", "extra_special_tokens"];
const AS_TEXT = { single_word: false, lstrip: false, rstrip: false, normalized: false };

/**
 * The added tokens of `tokenizer.json` with those that the other files name. A token that has no row
 * in the embedding is left out: its text stays text, since no model could read the id.
 *
 * @param numRows of the embedding
 * @param fail throws what is wrong with the files
 */
export function withNamedTokens(
  known: KnownTokens,
  files: TokenFiles,
  numRows: number,
  fail: (problem: string) => never,
): AddedTokenJson[] {
  const ids = new Map(known.ids);
  const textOf = new Map(Array.from(ids, ([text, id]) => [id, text]));
  const added = new Map(known.added.map((token) => [token.content, token]));
  const special = namedSpecialTokens(files);
  const add = (token: AddedTokenJson) => {
    if (token.id >= numRows) return;
    ids.set(token.content, token.id);
    textOf.set(token.id, token.content);
    added.set(token.content, token);
  };

  for (const { source, id, token } of numberedTokens(files)) {
    const content = tokenContent(token);
    if (content === undefined || content === "" || !Number.isSafeInteger(id) || id < 0) {
      fail(`${source} has no token and id in ${shownValue(content ?? id)}`);
    }
    const shown = `${source} gives ${JSON.stringify(content).slice(0, 80)} the id ${id},`;
    const other = ids.get(content as string);
    if (other !== undefined && other !== id) fail(`${shown} tokenizer.json ${other}`);
    const owner = textOf.get(id);
    if (owner !== undefined && owner !== content) {
      fail(`${shown} which tokenizer.json gives ${JSON.stringify(owner).slice(0, 80)}`);
    }
    const own = { ...AS_TEXT, ...asObject(token), content: content as string, id };
    add({ ...own, special: asObject(token)["special"] === true || special.has(own.content) });
  }
  for (const [content, token] of special) {
    if (added.has(content)) continue;
    const id = ids.get(content) ?? nextId(textOf.keys());
    add({ ...AS_TEXT, ...token, content, id, special: true });
  }
  return [...added.values()];
}

/** Tokens are written as their text, or as an object that holds it. */
export function tokenContent(token: unknown): string | undefined {
  const content = asObject(token)["content"] ?? token;
  return typeof content === "string" ? content : undefined;
}

/** Tokens with ids: of the newer file, or of the older one where the newer says none. */
function numberedTokens({ tokenizerConfig, addedTokens }: TokenFiles) {
  const decoder = tokenizerConfig["added_tokens_decoder"];
  return decoder !== undefined
    ? Object.entries(asObject(decoder)).map(([id, token]) => ({
      source: "added_tokens_decoder",
      id: Number(id),
      token,
    }))
    : Object.entries(addedTokens).map(([token, id]) => ({
      source: "added_tokens.json",
      id: id as number,
      token: token as unknown,
    }));
}

/** What the files call by the names of special tokens, by text. */
function namedSpecialTokens(files: TokenFiles): Map<string, Record<string, unknown>> {
  const values = { ...files.specialTokensMap, ...files.tokenizerConfig };
  const named = NAMES.map((name) => values[name]).concat(
    LISTS.flatMap((name) => Object.values(asObject(values[name]))),
  );
  const tokens = new Map<string, Record<string, unknown>>();
  for (const token of named) {
    const content = tokenContent(token);
    if (content) tokens.set(content, asObject(token));
  }
  return tokens;
}

function nextId(ids: Iterable<number>): number {
  let last = -1;
  for (const id of ids) last = Math.max(last, id);
  return last + 1;
}

/** Of anything else an empty one. */
function asObject(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? value as Record<string, unknown> : {};
}

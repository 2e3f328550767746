/**
 * Text to token ids, in the order of Hugging Face's `tokenizers`: added tokens are found in the text,
 * what is between is normalized, cut into pieces and merged, and what begins and ends a text is added.
 *
 * @module
 */
import { AddedTokenMatcher, type IsAllowed } from "./added_tokens.ts";
import { type BpeRules, BytePairEncoder } from "./bpe.ts";
import { shownValue } from "./fields.ts";
import { type Normalize, normalizer } from "./normalizer.ts";
import { Pieces, type PreTokenizer, preTokenizer } from "./pre_tokenizer.ts";
import { wordsOf } from "./sentence_piece.ts";
import type { LiteralSpan } from "./spec.ts";
import type { Steps } from "./steps.ts";
import type { AddedTokenJson, TokenizerJson } from "./tokenizer.ts";

/** UTF-16 units of a step, in pieces that are not long; about a millisecond of prose, 5 of hard text. */
const STEP = 4096;

/** See the module's comment. */
export class TokenEncoder {
  readonly #raw: AddedTokenMatcher;
  readonly #normalized: AddedTokenMatcher;
  readonly #normalize: Normalize | undefined;
  readonly #pieces: PreTokenizer;
  readonly #merging: BytePairEncoder;
  /** Token ids in front and behind. */
  readonly #frame: readonly [readonly number[], readonly number[]];

  /**
   * @param texts of all ids
   * @throws {Error} that names what is not supported
   */
  constructor(json: TokenizerJson, rules: BpeRules, texts: readonly (string | undefined)[]) {
    this.#normalize = normalizer(json.normalizer);
    const pieces = preTokenizer(json.pre_tokenizer);
    this.#pieces = pieces.byteLevel
      ? pieces
      : { ...pieces, scanners: [...pieces.scanners, ...wordsOf(rules)] };
    this.#merging = new BytePairEncoder(rules, texts, pieces.byteLevel);
    this.#frame = frame(json.post_processor, rules.ids);
    const isRaw = (token: AddedTokenJson) => token["normalized"] === false;
    this.#raw = new AddedTokenMatcher(json.added_tokens.filter(isRaw));
    const normalize = this.#normalize ?? ((text) => text);
    this.#normalized = new AddedTokenMatcher(
      json.added_tokens.filter((token) => !isRaw(token))
        .map((token) => ({ ...token, content: normalize(token.content) })),
    );
  }

  /** @param literal parts of the text in which added tokens are text */
  *encode(
    text: string,
    addSpecialTokens: boolean,
    literal: readonly LiteralSpan[],
  ): Steps<number[]> {
    const tokens: number[] = addSpecialTokens ? [...this.#frame[0]] : [];
    for (const { id, start, end } of this.#raw.split(text, allowedOutside(literal))) {
      if (id >= 0) tokens.push(id);
      else yield* this.#encodePart(text.slice(start, end), start, literal, tokens);
    }
    if (addSpecialTokens) tokens.push(...this.#frame[1]);
    return tokens;
  }

  /** A part without the added tokens that are found before normalization. */
  *#encodePart(
    part: string,
    offset: number,
    literal: readonly LiteralSpan[],
    tokens: number[],
  ): Steps<void> {
    const text = this.#normalize?.(part) ?? part;
    const allowed = allowedInPart(literal, offset, part, text);
    for (const { id, start, end } of this.#normalized.split(text, allowed)) {
      if (id >= 0) {
        tokens.push(id);
        continue;
      }
      const prepared = this.#pieces.prepare(text.slice(start, end), offset === 0 && start === 0);
      yield* this.#encodePieces(prepared, tokens);
    }
  }

  *#encodePieces(text: string, tokens: number[]): Steps<void> {
    const pieces = new Pieces(this.#pieces.scanners, text);
    let room = STEP;
    for (let piece = pieces.next(); piece !== undefined; piece = pieces.next()) {
      const rest = this.#merging.encode(piece, tokens);
      if (rest !== undefined) yield* rest;
      room -= piece.length;
      if (room > 0) continue;
      yield;
      room = STEP;
    }
  }
}

const ALWAYS: IsAllowed = () => true;

/** A caller's text holds no added tokens; an assistant's none that are special. */
function allowedOutside(literal: readonly LiteralSpan[], offset = 0): IsAllowed {
  if (literal.length === 0) return ALWAYS;
  return ({ special }, start, end) => {
    // The first span that ends behind the token's start; spans are in order and apart.
    let [low, high] = [0, literal.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (literal[middle]![1] > start + offset) high = middle;
      else low = middle + 1;
    }
    for (let i = low; i < literal.length && literal[i]![0] < end + offset; i++) {
      if (special || literal[i]![2] === "caller") return false;
    }
    return true;
  };
}

/** Where normalizing has moved the text, spans cannot be told apart: they hold for all of the part. */
function allowedInPart(
  literal: readonly LiteralSpan[],
  offset: number,
  part: string,
  text: string,
): IsAllowed {
  if (literal.length === 0 || part === text) return allowedOutside(literal, offset);
  const allowed = allowedOutside(literal, offset);
  return (token) => allowed(token, 0, part.length);
}

/** What a post-processor puts before and behind a text. */
function frame(
  json: unknown,
  ids: ReadonlyMap<string, number>,
): readonly [readonly number[], readonly number[]] {
  const processor = json as Readonly<Record<string, unknown>> | null;
  if (processor === null || processor["type"] === "ByteLevel") return [[], []];
  if (processor["type"] === "Sequence" && Array.isArray(processor["processors"])) {
    const frames = processor["processors"].map((step) => frame(step, ids));
    return [
      frames.toReversed().flatMap(([before]) => before),
      frames.flatMap(([, behind]) => behind),
    ];
  }
  const single = processor["single"];
  if (processor["type"] !== "TemplateProcessing" || !Array.isArray(single)) {
    throw new Error(`post-processor ${shownValue(processor["type"])} is not supported`);
  }
  const around: [number[], number[]] = [[], []];
  let side = 0;
  for (const part of single) {
    const name = part?.SpecialToken?.id;
    if (part?.Sequence?.id === "A" && side === 0) side = 1;
    else if (ids.has(name)) around[side]!.push(ids.get(name)!);
    else throw new Error(`the post-processor's token ${shownValue(name)} is not in the vocabulary`);
  }
  if (side === 0) throw new Error("the post-processor leaves the text out");
  return around;
}

/**
 * Text to token ids and back.
 *
 * Decoding takes no steps from the file but its kind, because a token has to be known by its raw bytes (halves of characters,
 * logprobs' `bytes`), and because the text of a list must be exactly the text of its bytes:
 * streaming compares the decodings of growing lists. So nothing is "cleaned up" and special tokens
 * are told by id.
 *
 * @module
 */
import { type BpeRules, byteAlphabet } from "./bpe.ts";
import { ModelError, type TextOptions, type Tokenizer } from "./spec.ts";
import { finished, type Steps } from "./steps.ts";
import { TokenEncoder } from "./token_encoder.ts";

/** A tokenizer as `tokenizer.json` describes it, its model apart. */
export interface TokenizerJson {
  readonly normalizer: unknown;
  readonly pre_tokenizer: unknown;
  readonly post_processor: unknown;
  readonly decoder: DecoderJson | null;
  readonly added_tokens: readonly AddedTokenJson[];
}

/** A token that is matched in the text before the model sees it. */
export interface AddedTokenJson {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
  readonly [key: string]: unknown;
}

interface DecoderJson {
  readonly type: string;
  readonly decoders?: readonly DecoderJson[];
  readonly [key: string]: unknown;
}

/** Tokens that begin and end a text, where the model has them. */
export interface TextBorders {
  readonly bosToken: string | undefined;
  readonly eosToken: string | undefined;
}

/**
 * A tokenizer from its parts.
 *
 * @param source where it comes from, for messages
 * @param rules the vocabulary (added tokens included) and its merges
 * @throws {ModelError} when it is of a kind that is not supported
 */
export function createTokenizer(
  source: string,
  json: TokenizerJson,
  rules: BpeRules,
  borders: TextBorders,
): Tokenizer {
  try {
    return new VocabularyTokenizer(json, rules, borders);
  } catch (error) {
    throw new ModelError(
      `Cannot open model ${source}: its tokenizer is not supported: ${(error as Error).message}`,
    );
  }
}

class VocabularyTokenizer implements Tokenizer {
  readonly vocabSize: number;
  readonly bosToken: string | undefined;
  readonly eosToken: string | undefined;
  readonly #encoder: TokenEncoder;
  readonly #texts: (string | undefined)[] = [];
  readonly #added = new Set<number>();
  readonly #special = new Set<number>();
  readonly #bytes: (Uint8Array | undefined)[] = [];
  readonly #toBytes: (token: string) => Uint8Array;
  readonly #stripsLeadingSpace: boolean;
  readonly #bos: number | undefined;

  constructor(json: TokenizerJson, rules: BpeRules, borders: TextBorders) {
    for (const [text, id] of rules.ids) this.#texts[id] = text;
    for (const { id, content, special } of json.added_tokens) {
      this.#texts[id] = content;
      this.#added.add(id);
      if (special) this.#special.add(id);
    }
    this.#encoder = new TokenEncoder(json, rules, this.#texts);
    this.vocabSize = this.#texts.length;
    this.bosToken = borders.bosToken;
    this.eosToken = borders.eosToken;
    this.#bos = this.bosToken === undefined ? undefined : rules.ids.get(this.bosToken);
    const { toBytes, stripsLeadingSpace } = decoding(json.decoder);
    this.#toBytes = toBytes;
    this.#stripsLeadingSpace = stripsLeadingSpace;
  }

  encode(text: string, options?: TextOptions): number[] {
    return finished(this.encodeSteps(text, options));
  }

  *encodeSteps(text: string, options: TextOptions = {}): Steps<number[]> {
    const { addSpecialTokens = true, literal = [] } = options;
    const ids = yield* this.#encoder.encode(text, addSpecialTokens, literal);
    const doubled = addSpecialTokens && this.#bos !== undefined &&
      ids[0] === this.#bos && ids[1] === this.#bos;
    return doubled ? ids.slice(1) : ids;
  }

  decode(
    tokens: readonly number[],
    options: { readonly skipSpecialTokens?: boolean } = {},
  ): string {
    const kept = options.skipSpecialTokens
      ? tokens.filter((token) => !this.#special.has(token))
      : tokens;
    const text = TEXT.decode(joinBytes(kept.map((token) => this.tokenBytes(token))));
    return this.#stripsLeadingSpace && text.startsWith(" ") ? text.slice(1) : text;
  }

  tokenText(token: number): string | undefined {
    return this.#texts[token];
  }

  /** Empty for ids that the vocabulary leaves out (models pad their embeddings). */
  tokenBytes(token: number): Uint8Array {
    const known = this.#bytes[token];
    if (known) return known;
    const text = this.#texts[token];
    if (text === undefined) return NO_BYTES;
    const bytes = this.#added.has(token) ? UTF8.encode(text) : this.#toBytes(text);
    this.#bytes[token] = bytes;
    return bytes;
  }

  isSpecial(token: number): boolean {
    return this.#special.has(token);
  }
}

/** Pieces one behind another. */
export function joinBytes(pieces: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let filled = 0;
  for (const piece of pieces) {
    bytes.set(piece, filled);
    filled += piece.length;
  }
  return bytes;
}

const UTF8 = new TextEncoder();
const TEXT = new TextDecoder("utf-8", { ignoreBOM: true });
const NO_BYTES = new Uint8Array(0);

interface Decoding {
  readonly toBytes: (token: string) => Uint8Array;
  /** The space that SentencePiece puts before a text is not part of it. */
  readonly stripsLeadingSpace: boolean;
}

/**
 * How tokens become bytes: GPT-2's alphabet of bytes, or SentencePiece's spaces and byte tokens.
 */
function decoding(decoder: DecoderJson | null): Decoding {
  const steps = decoder?.type === "Sequence" ? decoder.decoders ?? [] : decoder ? [decoder] : [];
  const types = steps.map((step) => step.type);
  if (types.length === 1 && types[0] === "ByteLevel") {
    return { toBytes: byteLevelBytes, stripsLeadingSpace: false };
  }
  const pieces = new Set(["Replace", "ByteFallback", "Fuse", "Strip", "Metaspace"]);
  if (types.length === 0 || types.some((type) => !pieces.has(type))) {
    throw new Error(`decoder ${types.join(", ") || "none"} is unknown`);
  }
  const strips = steps.some((step) =>
    step.type === "Strip" && step["start"] === 1 && step["content"] === " " ||
    step.type === "Metaspace" && step["prepend_scheme"] !== "never"
  );
  return { toBytes: sentencePieceBytes, stripsLeadingSpace: strips };
}

const BYTE_OF_CHARACTER: ReadonlyMap<string, number> = new Map(
  byteAlphabet.map((character, byte) => [character, byte]),
);

function byteLevelBytes(token: string): Uint8Array {
  const bytes = [...token].map((character) => BYTE_OF_CHARACTER.get(character));
  return bytes.every((byte) => byte !== undefined) ? Uint8Array.from(bytes) : UTF8.encode(token);
}

function sentencePieceBytes(token: string): Uint8Array {
  const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(token)?.[1];
  if (byte !== undefined) return Uint8Array.of(parseInt(byte, 16));
  return UTF8.encode(token.replaceAll("▁", " "));
}

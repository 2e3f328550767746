/**
 * Byte-pair encoding: a piece of text to the tokens that its merge rules make of it.
 *
 * @module
 */
import { Merges } from "./merges.ts";
import { PieceMerge } from "./piece_merge.ts";
import type { Steps } from "./steps.ts";

/** A vocabulary and its merge rules. */
export interface BpeRules {
  readonly ids: ReadonlyMap<string, number>;
  /** `left right` (a space between) to the rule's place in line; lower goes first. */
  readonly ranks: ReadonlyMap<string, number>;
  /** A piece that is a token by itself is never made from smaller ones. */
  readonly ignoreMerges: boolean;
  /** Characters without a token become tokens of their bytes, `<0x0A>`. */
  readonly byteFallback: boolean;
  /** Stands for what has no token; without it, such characters vanish. */
  readonly unknown: string | undefined;
  /** Neighbouring unknowns become one. */
  readonly fuseUnknown: boolean;
}

const UTF8 = new TextEncoder();
/** Words repeat: nine of ten are found here. There are at most two halves of so many. */
const CACHED_PIECES = 32_768;
const LONGEST_CACHED = 64;
const KEPT_CHARACTERS = 8192;
/** UTF-16 units. Longer pieces take several steps, and memory that is given back. */
const SHORT_PIECE = 4096;
/** What a unit, a byte of UTF-8 each, can become. */
const MOST_SYMBOLS = 3;
/** Merges that a step tries; about a millisecond. */
const STEP = 8192;

/** GPT-2 writes each byte as a printable character: itself where it is one, else from U+0100 on. */
export const byteAlphabet: readonly string[] = (() => {
  const printable = (byte: number) =>
    byte >= 0x21 && byte <= 0x7e || byte >= 0xa1 && byte <= 0xac || byte >= 0xae;
  let next = 0x100;
  return Array.from(
    { length: 256 },
    (_, byte) => String.fromCharCode(printable(byte) ? byte : next++),
  );
})();

/** What byte fallback makes of bytes: `<0x00>` to `<0xFF>`. */
export const byteTokens: readonly string[] = Array.from(
  { length: 256 },
  (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
);

/** Applies {@linkcode BpeRules}; keeps what it made of short pieces. */
export class BytePairEncoder {
  readonly #rules: BpeRules;
  readonly #merges: Merges;
  readonly #addSymbols: (piece: string, all: number[], wasUnknown: boolean) => boolean;
  readonly #unknown: number | undefined;
  readonly #byteLevel: boolean;
  readonly #characters = new Map<string, readonly number[]>();
  /** What was used lately, and what was before: the older half goes when the younger is full. */
  #cache = new Map<string, readonly number[]>();
  #older = new Map<string, readonly number[]>();
  readonly #merge: PieceMerge;

  /**
   * @param texts of all ids
   * @param byteLevel the vocabulary is written in {@linkcode byteAlphabet}
   */
  constructor(rules: BpeRules, texts: readonly (string | undefined)[], byteLevel: boolean) {
    this.#rules = rules;
    this.#merges = new Merges(rules, texts);
    this.#merge = new PieceMerge(this.#merges, SHORT_PIECE * MOST_SYMBOLS);
    this.#unknown = rules.unknown === undefined ? undefined : rules.ids.get(rules.unknown);
    if (byteLevel) {
      const bytes = byteAlphabet.map((character) => this.#symbolsOfCharacter(character));
      const symbolsOf = (byte: number) => bytes[byte]!;
      this.#addSymbols = (piece, ...rest) => this.#add(UTF8.encode(piece), symbolsOf, ...rest);
    } else {
      const symbolsOf = (character: string) => this.#symbolsOfCharacter(character);
      this.#addSymbols = (piece, ...rest) => this.#add(piece, symbolsOf, ...rest);
    }
    this.#byteLevel = byteLevel;
  }

  /**
   * Adds the tokens of a piece that the pre-tokenizer cut: nothing merges across its borders.
   *
   * @returns what is left to do, where the piece is long
   */
  encode(piece: string, tokens: number[]): Steps<void> | undefined {
    if (piece.length > SHORT_PIECE) return this.#encodeLong(piece, tokens);
    const known = this.#known(piece) ?? this.#make(piece);
    for (let i = 0; i < known.length; i++) tokens.push(known[i]!);
    return undefined;
  }

  *#encodeLong(piece: string, tokens: number[]): Steps<void> {
    const symbols: number[] = [];
    let isUnknown = false;
    for (let start = 0; start < piece.length;) {
      let end = start + SHORT_PIECE;
      if (isLowSurrogate(piece.charCodeAt(end))) end++;
      isUnknown = this.#addSymbols(piece.slice(start, end), symbols, isUnknown);
      start = end;
      yield;
    }
    const merge = new PieceMerge(this.#merges, symbols.length);
    merge.begin(symbols);
    while (!merge.run(STEP)) yield;
    for (const token of merge.tokens()) tokens.push(token);
  }

  #known(piece: string): readonly number[] | undefined {
    if (piece.length > LONGEST_CACHED) return undefined;
    const known = this.#cache.get(piece);
    if (known !== undefined) return known;
    const older = this.#older.get(piece);
    if (older !== undefined) this.#keep(piece, older);
    return older;
  }

  #keep(piece: string, tokens: readonly number[]): void {
    if (this.#cache.size >= CACHED_PIECES) {
      this.#older = this.#cache;
      this.#cache = new Map();
    }
    this.#cache.set(piece, tokens);
  }

  #make(piece: string): readonly number[] {
    const whole = this.#rules.ignoreMerges ? this.#rules.ids.get(this.#written(piece)) : undefined;
    const tokens = whole === undefined ? this.#mergeShort(piece) : [whole];
    if (piece.length <= LONGEST_CACHED) this.#keep(piece, tokens);
    return tokens;
  }

  #mergeShort(piece: string): number[] {
    const symbols: number[] = [];
    this.#addSymbols(piece, symbols, false);
    this.#merge.begin(symbols);
    this.#merge.run(Infinity);
    return this.#merge.tokens();
  }

  /** A piece as the vocabulary spells it. */
  #written(piece: string): string {
    if (!this.#byteLevel) return piece;
    let text = "";
    for (const byte of UTF8.encode(piece)) text += byteAlphabet[byte];
    return text;
  }

  /**
   * Adds the symbols of all characters; unknown ones that follow each other are one where rules say so.
   *
   * @param wasUnknown what stands before
   * @returns whether the last one is unknown
   */
  #add<T>(
    characters: Iterable<T>,
    symbolsOf: (character: T) => readonly number[],
    all: number[],
    wasUnknown: boolean,
  ): boolean {
    for (const character of characters) {
      const symbols = symbolsOf(character);
      const isUnknown = symbols.length === 1 && symbols[0] === this.#unknown;
      if (!(isUnknown && wasUnknown && this.#rules.fuseUnknown)) {
        for (const symbol of symbols) all.push(symbol);
      }
      wasUnknown = isUnknown;
    }
    return wasUnknown;
  }

  #symbolsOfCharacter(character: string): readonly number[] {
    const known = this.#characters.get(character);
    if (known !== undefined) return known;
    const symbols = this.#findSymbols(character);
    if (this.#characters.size < KEPT_CHARACTERS) this.#characters.set(character, symbols);
    return symbols;
  }

  #findSymbols(character: string): readonly number[] {
    const { ids, byteFallback } = this.#rules;
    const id = ids.get(character);
    if (id !== undefined) return [id];
    if (byteFallback) {
      const bytes = Array.from(UTF8.encode(character), (byte) => ids.get(byteTokens[byte]!));
      if (bytes.every((byte) => byte !== undefined)) return bytes;
    }
    return this.#unknown === undefined ? [] : [this.#unknown];
  }
}

function isLowSurrogate(unit: number): boolean {
  return unit >= 0xdc00 && unit <= 0xdfff;
}

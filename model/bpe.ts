/**
 * Byte-pair encoding: a piece of text to the tokens that its merge rules make of it.
 *
 * @module
 */

import { Merges } from "./merges.ts";

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
/** Of longer pieces the memory for merging is given back. */
const KEPT_SYMBOLS = 4096;

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
  readonly #symbolsOf: (piece: string) => number[];
  readonly #unknown: number | undefined;
  readonly #byteLevel: boolean;
  readonly #characters = new Map<string, readonly number[]>();
  /** What was used lately, and what was before: the older half goes when the younger is full. */
  #cache = new Map<string, readonly number[]>();
  #older = new Map<string, readonly number[]>();
  readonly #queue = new Queue(KEPT_SYMBOLS);

  /**
   * @param texts of all ids
   * @param byteLevel the vocabulary is written in {@linkcode byteAlphabet}
   */
  constructor(rules: BpeRules, texts: readonly (string | undefined)[], byteLevel: boolean) {
    this.#rules = rules;
    this.#merges = new Merges(rules, texts);
    this.#unknown = rules.unknown === undefined ? undefined : rules.ids.get(rules.unknown);
    if (byteLevel) {
      const bytes = byteAlphabet.map((character) => this.#symbolsOfCharacter(character));
      this.#symbolsOf = (piece) => this.#fused(UTF8.encode(piece), (byte) => bytes[byte]!);
    } else {
      this.#symbolsOf = (piece) =>
        this.#fused(piece, (character) => this.#symbolsOfCharacter(character));
    }
    this.#byteLevel = byteLevel;
  }

  /** Adds the tokens of a piece that the pre-tokenizer cut: nothing merges across its borders. */
  encode(piece: string, tokens: number[]): void {
    const known = this.#known(piece) ?? this.#make(piece);
    for (let i = 0; i < known.length; i++) tokens.push(known[i]!);
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
    const tokens = whole === undefined ? this.#merge(this.#symbolsOf(piece)) : [whole];
    if (piece.length <= LONGEST_CACHED) this.#keep(piece, tokens);
    return tokens;
  }

  /** A piece as the vocabulary spells it. */
  #written(piece: string): string {
    if (!this.#byteLevel) return piece;
    let text = "";
    for (const byte of UTF8.encode(piece)) text += byteAlphabet[byte];
    return text;
  }

  /** The symbols of all characters; unknown ones that follow each other are one where rules say so. */
  #fused<T>(characters: Iterable<T>, symbolsOf: (character: T) => readonly number[]): number[] {
    const all: number[] = [];
    let wasUnknown = false;
    for (const character of characters) {
      const symbols = symbolsOf(character);
      const isUnknown = symbols.length === 1 && symbols[0] === this.#unknown;
      if (!(isUnknown && wasUnknown && this.#rules.fuseUnknown)) {
        for (const symbol of symbols) all.push(symbol);
      }
      wasUnknown = isUnknown;
    }
    return all;
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

  /**
   * Merges neighbours, lowest rank first and leftmost among equals, until no rule fits. Symbols
   * form a linked list; the queue holds `rank * count + position of the left one`, so that comparing
   * numbers orders by both. An entry is stale when its left symbol has changed or gone.
   */
  #merge(symbols: number[]): number[] {
    const count = symbols.length;
    if (count < 2) return symbols;
    const merges = this.#merges;
    const queue = count <= KEPT_SYMBOLS ? this.#queue : new Queue(count);
    const { next, previous } = queue;
    for (let i = 0; i < count; i++) {
      next[i] = i + 1;
      previous[i] = i - 1;
    }
    const offer = (left: number) => {
      const right = next[left]!;
      if (right >= count) return;
      const rank = merges.rank(merges.find(symbols[left]!, symbols[right]!));
      if (rank >= 0) queue.push(rank * count + left);
    };

    for (let i = 0; i < count - 1; i++) offer(i);
    for (let entry = queue.pop(); entry >= 0; entry = queue.pop()) {
      const rank = Math.floor(entry / count);
      const left = entry - rank * count;
      const right = next[left]!;
      if (symbols[left] === GONE || right >= count) continue;
      const pair = merges.find(symbols[left]!, symbols[right]!);
      if (merges.rank(pair) !== rank) continue;
      symbols[left] = merges.result(pair);
      symbols[right] = GONE;
      const following = next[right]!;
      next[left] = following;
      if (following < count) previous[following] = left;
      offer(left);
      if (previous[left]! >= 0) offer(previous[left]!);
    }
    return symbols.filter((symbol) => symbol !== GONE);
  }
}

const GONE = -1;

/** A binary heap of numbers that are not negative, smallest first, and the links of a list. */
class Queue {
  readonly next: Int32Array;
  readonly previous: Int32Array;
  readonly #items: number[] = [];

  /** @param room symbols that the list can have */
  constructor(room: number) {
    this.next = new Int32Array(room);
    this.previous = new Int32Array(room);
  }

  push(item: number): void {
    const items = this.#items;
    let at = items.push(item) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (items[parent]! <= item) break;
      items[at] = items[parent]!;
      at = parent;
    }
    items[at] = item;
  }

  /** -1: there is none. */
  pop(): number {
    const items = this.#items;
    const last = items.pop();
    if (last === undefined) return -1;
    if (items.length === 0) return last;
    const smallest = items[0]!;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && items[child + 1]! < items[child]!) child++;
      if (items[child]! >= last) break;
      items[at] = items[child]!;
      at = child;
    }
    items[at] = last;
    return smallest;
  }
}

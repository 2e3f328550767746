/**
 * Merge rules by the ids of two neighbours.
 *
 * Files give rules as texts, up to 280,000 of them; turning all into ids would take a fifth of a second
 * at open. A pair is looked up by text the first time and then known by its ids.
 *
 * @module
 */
import type { BpeRules } from "./bpe.ts";

const SLOTS = 1 << 18;
/** left, right, rank, result: in one cache line. */
const FIELDS = 4;
const NONE = -1;

/** Pairs that have been asked for, 4 MiB; when three quarters are full, all are forgotten. */
export class Merges {
  readonly #rules: BpeRules;
  readonly #texts: readonly (string | undefined)[];
  readonly #slots = new Int32Array(SLOTS * FIELDS).fill(NONE);
  #filled = 0;

  /** @param texts of all ids */
  constructor(rules: BpeRules, texts: readonly (string | undefined)[]) {
    this.#rules = rules;
    this.#texts = texts;
  }

  /** The place of a pair, for {@linkcode rank} and {@linkcode result}; holds until the next call. */
  find(left: number, right: number): number {
    const slots = this.#slots;
    const hash = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
    let at = (hash >>> 14) * FIELDS;
    while (slots[at] !== NONE) {
      if (slots[at] === left && slots[at + 1] === right) return at;
      at = (at + FIELDS) & (SLOTS * FIELDS - 1);
    }
    return this.#add(at, left, right);
  }

  #add(at: number, left: number, right: number): number {
    if (this.#filled > SLOTS * 0.75) {
      this.#slots.fill(NONE);
      this.#filled = 0;
      return this.find(left, right);
    }
    const [first, second] = [this.#texts[left]!, this.#texts[right]!];
    const rank = this.#rules.ranks.get(`${first} ${second}`);
    const result = rank === undefined ? undefined : this.#rules.ids.get(first + second);
    this.#slots[at] = left;
    this.#slots[at + 1] = right;
    this.#slots[at + 2] = result === undefined ? NONE : rank!;
    this.#slots[at + 3] = result ?? NONE;
    this.#filled++;
    return at;
  }

  /** The rule's place in line; -1: there is none. */
  rank(at: number): number {
    return this.#slots[at + 2]!;
  }

  /** The id that the pair becomes. */
  result(at: number): number {
    return this.#slots[at + 3]!;
  }
}

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
const NO_PAIR = -1;

/** Pairs that have been asked for; when three quarters are full, all are forgotten. */
export class Merges {
  readonly #rules: BpeRules;
  readonly #texts: readonly (string | undefined)[];
  readonly #left = new Int32Array(SLOTS).fill(NO_PAIR);
  readonly #right = new Int32Array(SLOTS);
  readonly #rank = new Int32Array(SLOTS);
  readonly #result = new Int32Array(SLOTS);
  #filled = 0;

  /** @param texts of all ids */
  constructor(rules: BpeRules, texts: readonly (string | undefined)[]) {
    this.#rules = rules;
    this.#texts = texts;
  }

  /** The place of a pair, for {@linkcode rank} and {@linkcode result}; holds until the next call. */
  find(left: number, right: number): number {
    let slot = (Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b)) >>> 14;
    while (this.#left[slot] !== NO_PAIR) {
      if (this.#left[slot] === left && this.#right[slot] === right) return slot;
      slot = (slot + 1) & (SLOTS - 1);
    }
    if (this.#filled > SLOTS * 0.75) {
      this.#left.fill(NO_PAIR);
      this.#filled = 0;
      return this.find(left, right);
    }
    const [first, second] = [this.#texts[left]!, this.#texts[right]!];
    const rank = this.#rules.ranks.get(`${first} ${second}`);
    const result = rank === undefined ? undefined : this.#rules.ids.get(first + second);
    this.#left[slot] = left;
    this.#right[slot] = right;
    this.#rank[slot] = result === undefined ? -1 : rank!;
    this.#result[slot] = result ?? -1;
    this.#filled++;
    return slot;
  }

  /** The rule's place in line; -1: there is none. */
  rank(slot: number): number {
    return this.#rank[slot]!;
  }

  /** The id that the pair becomes. */
  result(slot: number): number {
    return this.#result[slot]!;
  }
}

/**
 * Merging one piece: neighbours become one symbol, lowest rank first and leftmost among equals, until no
 * rule fits.
 *
 * @module
 */
import type { Merges } from "./merges.ts";

const GONE = -1;

/**
 * Symbols form a linked list; a queue holds `rank * count + position of the left one`, so that comparing
 * numbers orders by both. An entry is stale when its left symbol has changed or gone.
 */
export class PieceMerge {
  readonly #merges: Merges;
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #queue = new Queue();
  #symbols: number[] = [];
  /** Neighbours that the queue has been offered, from the left. */
  #offered = 0;

  /** @param room symbols that a piece can have */
  constructor(merges: Merges, room: number) {
    this.#merges = merges;
    this.#next = new Int32Array(room);
    this.#previous = new Int32Array(room);
  }

  /** Of this piece from now on; its symbols are this object's. */
  begin(symbols: number[]): void {
    this.#symbols = symbols;
    this.#offered = 0;
    for (let i = 0; i < symbols.length; i++) {
      this.#next[i] = i + 1;
      this.#previous[i] = i - 1;
    }
  }

  /**
   * Goes on for at most so many pairs of neighbours.
   *
   * @returns whether it is done
   */
  run(pairs: number): boolean {
    const count = this.#symbols.length;
    const offers = Math.min(count - 1, this.#offered + pairs);
    pairs -= offers - this.#offered;
    while (this.#offered < offers) this.#offer(this.#offered++);
    for (; pairs > 0; pairs--) {
      const entry = this.#queue.pop();
      if (entry < 0) return this.#offered >= count - 1;
      const rank = Math.floor(entry / count);
      this.#mergeAt(entry - rank * count, rank);
    }
    return false;
  }

  /** What is left of the symbols. */
  tokens(): number[] {
    return this.#symbols.filter((symbol) => symbol !== GONE);
  }

  #offer(left: number): void {
    const symbols = this.#symbols, right = this.#next[left]!;
    if (right >= symbols.length) return;
    const merges = this.#merges;
    const rank = merges.rank(merges.find(symbols[left]!, symbols[right]!));
    if (rank >= 0) this.#queue.push(rank * symbols.length + left);
  }

  #mergeAt(left: number, rank: number): void {
    const symbols = this.#symbols, merges = this.#merges;
    const next = this.#next, previous = this.#previous;
    const right = next[left]!;
    if (symbols[left] === GONE || right >= symbols.length) return;
    const pair = merges.find(symbols[left]!, symbols[right]!);
    if (merges.rank(pair) !== rank) return;
    symbols[left] = merges.result(pair);
    symbols[right] = GONE;
    const following = next[right]!;
    next[left] = following;
    if (following < symbols.length) previous[following] = left;
    this.#offer(left);
    if (previous[left]! >= 0) this.#offer(previous[left]!);
  }
}

/** A binary heap of numbers that are not negative, smallest first. */
class Queue {
  readonly #items: number[] = [];

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

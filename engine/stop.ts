/**
 * Stop texts, found across the borders of tokens.
 *
 * @module
 */

/** What {@linkcode StopMatcher.push} found. */
export interface StopResult {
  /** Text that may go out. */
  readonly text: string;
  /** The stop text that was found. */
  readonly stop: string | undefined;
  /** What came behind it. */
  readonly rest: string;
}

/**
 * Holds back only what may yet become a stop text. The stop text that is complete first wins, among
 * those that end at the same character the longest; so the result does not depend on how the text
 * was cut into pieces.
 */
export class StopMatcher {
  readonly #stops: readonly string[];
  readonly #includeStop: boolean;
  #held = "";

  constructor(stops: readonly string[], options: { readonly includeStop: boolean }) {
    this.#stops = stops;
    this.#includeStop = options.includeStop;
  }

  /**
   * Nothing may be pushed after a stop was found.
   *
   * @param counts whether stop texts that end in this piece do
   */
  push(piece: string, counts = true): StopResult {
    const text = this.#held + piece;
    const found = counts ? this.#firstStop(text, this.#held.length) : undefined;
    if (found !== undefined) {
      this.#held = "";
      const cut = this.#includeStop ? found.end : found.end - found.stop.length;
      return { text: text.slice(0, cut), stop: found.stop, rest: text.slice(found.end) };
    }
    const free = text.length - this.#lengthToHold(text);
    this.#held = text.slice(free);
    return { text: text.slice(0, free), stop: undefined, rest: "" };
  }

  /** What was held back and became no stop text. */
  flush(): string {
    const held = this.#held;
    this.#held = "";
    return held;
  }

  /** Of those that end behind `from`: what is held may have one that did not count. */
  #firstStop(
    text: string,
    from: number,
  ): { readonly stop: string; readonly end: number } | undefined {
    let first: { readonly stop: string; readonly end: number } | undefined;
    for (const stop of this.#stops) {
      const start = text.indexOf(stop, from - stop.length + 1);
      if (start < 0) continue;
      const end = start + stop.length;
      const better = first === undefined || end < first.end ||
        (end === first.end && stop.length > first.stop.length);
      if (better) first = { stop, end };
    }
    return first;
  }

  /** Length of the longest end of the text that begins a stop text. */
  #lengthToHold(text: string): number {
    let longest = 0;
    for (const stop of this.#stops) {
      for (let n = Math.min(stop.length - 1, text.length); n > longest; n--) {
        if (text.endsWith(stop.slice(0, n))) longest = n;
      }
    }
    return longest;
  }
}

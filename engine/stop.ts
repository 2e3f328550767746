/**
 * Stop texts, found across the borders of tokens.
 *
 * @module
 */
import { ROOT, StopAutomaton } from "./stop_automaton.ts";

/** What {@linkcode StopMatcher.push} found. */
export interface StopResult {
  /** Text that may go out. */
  readonly text: string;
  /** The stop text that was found. */
  readonly stop: string | undefined;
  /** What came behind it. */
  readonly rest: string;
}

/** The stop texts of a request, for all its sequences. */
export class StopTexts {
  readonly #texts: readonly string[];
  readonly includeStop: boolean;
  #automaton: StopAutomaton | undefined;

  constructor(texts: readonly string[], options: { readonly includeStop: boolean }) {
    this.#texts = texts;
    this.includeStop = options.includeStop;
  }

  get none(): boolean {
    return this.#texts.length === 0;
  }

  /** Made late: a request that waits in the queue has no use for it. */
  get automaton(): StopAutomaton {
    return this.#automaton ??= new StopAutomaton(this.#texts);
  }
}

/**
 * Holds back only what may yet become a stop text. The stop text that is complete first wins, among
 * those that end at the same character the longest; so the result does not depend on how the text
 * was cut into pieces.
 */
export class StopMatcher {
  readonly #stops: StopTexts;
  #node = ROOT;
  #held = "";

  constructor(stops: StopTexts) {
    this.#stops = stops;
  }

  /**
   * Nothing may be pushed after a stop was found.
   *
   * @param counts whether stop texts that end in this piece do
   */
  push(piece: string, counts = true): StopResult {
    if (this.#stops.none) return { text: piece, stop: undefined, rest: "" };
    const { automaton, includeStop } = this.#stops;
    const text = this.#held + piece;
    for (let at = this.#held.length; at < text.length; at++) {
      this.#node = automaton.step(this.#node, text.charCodeAt(at));
      const stop = automaton.foundAt(this.#node);
      if (stop === undefined || !counts) continue;
      this.#held = "";
      const end = at + 1;
      const cut = includeStop ? end : end - stop.length;
      return { text: text.slice(0, cut), stop, rest: text.slice(end) };
    }
    const free = text.length - automaton.depth[this.#node]!;
    this.#held = text.slice(free);
    return { text: text.slice(0, free), stop: undefined, rest: "" };
  }

  /** What was held back and became no stop text. */
  flush(): string {
    const held = this.#held;
    this.#held = "";
    this.#node = ROOT;
    return held;
  }
}

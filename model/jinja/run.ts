/**
 * One rendering of a template: what it may still use, and what it is told of the world outside.
 *
 * @module
 */

import type { Arguments } from "./arguments.ts";
import type { Value } from "./values.ts";

/** The template refuses, or cannot be rendered; the message says why, for people. */
export class TemplateError extends Error {
  override name = "TemplateError";
}

/** Refuses: where jinja2 raises, and for what is not supported here. */
export function fail(message: string): never {
  throw new TemplateError(message);
}

/** What one rendering may use. */
export interface Budget {
  /** Nodes evaluated, items gone through, and texts of 32 characters looked through. */
  readonly steps: number;
  /** Characters and items of all texts and lists made, the output's too. */
  readonly characters: number;
  /** What bills too little for its time is stopped by the clock. */
  readonly milliseconds: number;
}

/** `value | name(…)` */
export type Filter = (run: Run, value: Value, args: Arguments) => Value;

/** `value is name(…)` */
export type Test = (run: Run, value: Value, args: Arguments) => boolean;

/** Filters and tests by name, for those that are named by a text: `map("upper")`. */
export interface Builtins {
  readonly filters: ReadonlyMap<string, Filter>;
  readonly tests: ReadonlyMap<string, Test>;
}

/** As deep as macros and recursive loops go; Python's own limit lets about 190 through. */
const MAX_DEPTH = 180;

/** Steps between two looks at the clock: a few milliseconds. */
const STEPS_A_LOOK = 1 << 16;

/**
 * Counts what a rendering uses. Everything that takes time or memory by its operands asks here first,
 * so that a hostile template is refused before it does harm.
 */
export class Run {
  /** The clock of `strftime_now`. */
  readonly now: Date;
  /** What `map` and its like look names up in. */
  readonly builtins: Builtins;
  readonly #budget: Budget;
  #steps: number;
  #characters: number;
  /** With so many steps left the clock is looked at. */
  #nextLook: number;
  readonly #deadline: number;
  #depth = 0;

  /** Nothing is used yet. */
  constructor(budget: Budget, now: Date, builtins: Builtins) {
    this.#budget = budget;
    this.#deadline = performance.now() + budget.milliseconds;
    this.#steps = budget.steps;
    this.#characters = budget.characters;
    this.#nextLook = Math.max(0, budget.steps - STEPS_A_LOOK);
    this.now = now;
    this.builtins = builtins;
  }

  /** Time is taken. */
  spend(steps: number): void {
    this.#steps -= steps;
    // Not a number is refused too.
    if (!(this.#steps >= this.#nextLook)) this.#look();
  }

  #look(): void {
    if (!(this.#steps >= 0)) fail(`the template takes more than ${this.#budget.steps} steps`);
    if (performance.now() > this.#deadline) {
      fail(`the template takes more than ${this.#budget.milliseconds} ms`);
    }
    this.#nextLook = Math.max(0, this.#steps - STEPS_A_LOOK);
  }

  /** A text is gone through. */
  read(text: string): void {
    this.spend(1 + (text.length >> 5));
  }

  /** A text is gone through by what each of its characters is. */
  examine(text: string): void {
    this.spend(1 + (text.length >> 3));
  }

  /** Memory is taken, before it is. */
  make(size: number): void {
    this.#characters -= size;
    if (!(this.#characters >= 0)) this.#refuseSize();
    this.spend(1 + (size >>> 5));
  }

  #refuseSize(): never {
    fail(`the template makes more than ${this.#budget.characters} characters`);
  }

  /** A list is made, or prolonged: an item takes as much as eight characters. */
  makeItems(count: number): void {
    this.make(8 * count);
  }

  /** A dict is made, or prolonged. */
  makeEntries(count: number): void {
    this.make(64 * count);
  }

  /** Calls what may call itself. */
  nested<T>(call: () => T): T {
    if (this.#depth === MAX_DEPTH) {
      fail(`macros and recursive loops must be nested at most ${MAX_DEPTH} deep`);
    }
    this.#depth++;
    try {
      return call();
    } finally {
      this.#depth--;
    }
  }
}

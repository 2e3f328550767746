/**
 * Finds turns of the event loop that keep everybody waiting.
 *
 * A turn is what the main thread does between two looks at its timers: JavaScript, garbage collection
 * and calls that block. Its length is the wall's time less what the thread waited for a core (the run
 * queue's wait in schedstat), so that a busy machine makes no turn long. A timer of a few milliseconds
 * tells it: what is late about it is the turn that held it up. Waiting for events is no turn, as the
 * timer ends it; processor time alone would not do, as a call that blocks takes none.
 *
 * @module
 */
import { ownTimeMs } from "./own_time.ts";

/** The longest turn that is allowed while somebody waits for an answer. */
export const LONGEST_TURN_MS = 50;

/** A turn is seen as up to so much shorter than it was. */
const TICK_MS = 5;

/** Reasons that more than one test has. */
export const STARTS_WORKER =
  "the first long text starts the tokenizer's worker: 40 to 110 ms, once";
/** See {@linkcode STARTS_WORKER}. */
export const LOADS_METRICS = "the first scrape loads prom-client: 35 to 60 ms, once";

let allowance: string | undefined;

/** Lets the test that calls it take longer turns: `reason` says which, and why nothing can be done. */
export function allowLongTurns(reason: string): void {
  allowance = reason;
}

/** The reason that the last test gave, if it did; the next one has to give its own. */
export function takeAllowance(): string | undefined {
  const taken = allowance;
  allowance = undefined;
  return taken;
}

/** Watches turns while at least one window is open. */
export class TurnWatch {
  /** Of the turns so far that were watched. */
  longestMs = 0;
  #numOpen = 0;
  #last = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** Watches from now until what it returns is called. What this turn did before does not count. */
  open(): () => void {
    if (this.#numOpen++ === 0) this.#start();
    let isOpen = true;
    return () => {
      if (isOpen && --this.#numOpen === 0) this.stop();
      isOpen = false;
    };
  }

  /** Watches no more. */
  stop(): void {
    if (this.#timer === undefined) return;
    this.#tick(); // the turn that closed it
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #start(): void {
    this.#last = ownTimeMs();
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  #tick(): void {
    const now = ownTimeMs();
    this.longestMs = Math.max(this.longestMs, now - this.#last - TICK_MS);
    this.#last = now;
  }
}

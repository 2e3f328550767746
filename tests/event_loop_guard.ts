/**
 * Finds turns of the event loop that keep everybody waiting.
 *
 * A turn is what the loop's thread does between two looks at its timers: JavaScript, garbage collection
 * and calls that block. Its length is the wall's time less what the thread waited for a core (the run
 * queue's wait in schedstat). A timer of a few milliseconds tells it: what is late about it is the turn
 * that held it up. Waiting for events is no turn, as the timer ends it. Where the thread waited for a
 * core, those that it was blocked by (the collector's helpers, a worker that starts) may have too: then
 * only what it ran counts, so that a busy machine makes no turn long.
 *
 * @module
 */
import { type ThreadTimes, threadTimes } from "./own_time.ts";

/** The longest turn that is allowed while somebody waits for an answer. */
export const LONGEST_TURN_MS = 50;

/** A turn is seen as up to so much shorter than it was. */
const TICK_MS = 5;

/** A reason to allow a longer turn. */
export const LOADS_METRICS = "the first scrape loads prom-client, which takes 35 to 60 ms";
/** The same. */
export const STARTS_WORKER =
  "the first long text starts a worker, for which Deno needs 40 to 60 ms";

let allowance: string | undefined;

/** Lets the test that calls it take longer turns: `reason` says which, and why nothing is done. */
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
  #last: ThreadTimes & { readonly atMs: number } = now();
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
    this.#tick(); // the turn that ends here
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #start(): void {
    this.#last = now();
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  #tick(): void {
    const last = this.#last;
    this.#last = now();
    const { atMs, ranMs, waitedMs } = this.#last;
    const turnMs = waitedMs - last.waitedMs > TICK_MS
      ? ranMs - last.ranMs
      : atMs - last.atMs - (waitedMs - last.waitedMs) - TICK_MS;
    this.longestMs = Math.max(this.longestMs, turnMs);
  }
}

function now(): ThreadTimes & { readonly atMs: number } {
  return { atMs: performance.now(), ...threadTimes() };
}

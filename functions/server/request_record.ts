/**
 * What is worth knowing about a request. Times are taken at the engine's events, so that a slow reader
 * does not lengthen them, and go into the histograms as they are known.
 *
 * @module
 */
import type { Run, RunObserver } from "../../engine/types.ts";
import type { Timings } from "./histogram.ts";

/** nginx's word for a caller that left; callers never see it. */
export const CALLER_LEFT = 499;

/** Times are in milliseconds since the request came. */
export class RequestRecord {
  readonly #start = performance.now();
  readonly #timings: Timings;
  readonly #runs: Run[] = [];
  #longestOutput = 0;
  #lastTokenMs = 0;
  firstTokenMs: number | undefined;
  /** Resolves when the answer has left, or its reader has. */
  finished: Promise<void> = Promise.resolve();
  /** The caller left before the end. */
  left = false;
  /** What went wrong after the head of a 200 had left. */
  failedStatus: number | undefined;

  /** @param timings where its times go */
  constructor(timings: Timings) {
    this.#timings = timings;
  }

  get promptTokens(): number {
    return sum(this.#runs, ({ promptTokens }) => promptTokens.length);
  }

  get cachedTokens(): number {
    return sum(this.#runs, ({ numCachedTokens }) => numCachedTokens);
  }

  get outputTokens(): number {
    return sum(this.#runs, ({ numOutputTokens }) => numOutputTokens);
  }

  /** Milliseconds since the request came. */
  elapsedMs(): number {
    return performance.now() - this.#start;
  }

  /** Starts a run of this request. */
  run(start: (observer: RunObserver) => Run): Run {
    let queuedMs = 0, waitedMs = 0;
    let isFirst = true;
    const lengths: number[] = [];
    const run = start({
      queued: () => queuedMs = this.elapsedMs(),
      started: (ms) => {
        waitedMs = ms;
        this.#timings.queueTime.add(ms / 1000);
      },
      tokens: (index, count) => {
        const now = this.elapsedMs();
        if (isFirst) {
          this.#timings.prefillTime.add(Math.max(0, now - queuedMs - waitedMs) / 1000);
        }
        isFirst = false;
        lengths[index] = (lengths[index] ?? 0) + count;
        this.#longestOutput = Math.max(this.#longestOutput, lengths[index]!);
        this.#tokensCame(now, count);
      },
    });
    this.#runs.push(run);
    return run;
  }

  /** The status to tell of, where `answered` was in the head that left. */
  statusOf(answered: number): number {
    return this.left ? CALLER_LEFT : this.failedStatus ?? answered;
  }

  /** The answer has left, or its reader has. */
  end(): void {
    if (this.firstTokenMs === undefined) return;
    const timings = this.#timings;
    timings.endToEnd.add(this.elapsedMs() / 1000);
    timings.decodeTime.add((this.#lastTokenMs - this.firstTokenMs) / 1000);
    timings.promptTokens.add(this.promptTokens);
    timings.outputTokens.add(this.outputTokens);
    timings.longestOutput.add(this.#longestOutput);
  }

  #tokensCame(now: number, count: number): void {
    // Tokens that come together waited together; those beside the first did not wait at all.
    if (this.firstTokenMs === undefined) {
      this.firstTokenMs = now;
      this.#timings.firstToken.add(now / 1000);
      if (count > 1) this.#timings.tokenGaps.add(0, count - 1);
    } else {
      this.#timings.tokenGaps.add((now - this.#lastTokenMs) / 1000 / count, count);
    }
    this.#lastTokenMs = now;
  }
}

function sum(runs: readonly Run[], count: (run: Run) => number): number {
  return runs.reduce((total, run) => total + count(run), 0);
}

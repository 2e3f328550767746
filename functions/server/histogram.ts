/**
 * Histograms of a server's life, filled as things happen: a request has hundreds of thousands of waits
 * between tokens, so values are counted and never kept.
 *
 * @module
 */

/** How many values were at most each bound and above the one before. */
export class Histogram {
  readonly counts: number[];
  sum = 0;
  count = 0;

  /** @param bounds upper ones, rising; a value beyond the last counts in the sum alone */
  constructor(readonly bounds: readonly number[]) {
    this.counts = bounds.map(() => 0);
  }

  /** A value that came so many times at once. */
  add(value: number, times = 1): void {
    const bound = this.bounds.findIndex((bound) => value <= bound);
    if (bound >= 0) this.counts[bound]! += times;
    this.sum += value * times;
    this.count += times;
  }
}

const SECONDS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300];
const TOKENS = [1, 2, 5].flatMap((n) => [n, 10 * n, 100 * n, 1e3 * n, 1e4 * n, 1e5 * n])
  .concat(1e6).sort((a, b) => a - b);

/** Of requests that generate. */
export class Timings {
  readonly firstToken = new Histogram(SECONDS);
  readonly queueTime = new Histogram(SECONDS);
  readonly prefillTime = new Histogram(SECONDS);
  /** From a token of a request to its next. */
  readonly tokenGaps = new Histogram(SECONDS);
  readonly decodeTime = new Histogram(SECONDS);
  readonly endToEnd = new Histogram(SECONDS);
  readonly promptTokens = new Histogram(TOKENS);
  readonly outputTokens = new Histogram(TOKENS);
  readonly longestOutput = new Histogram(TOKENS);
}

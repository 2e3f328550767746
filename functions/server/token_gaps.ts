/**
 * Waits between tokens, by how long they were: a request has hundreds of thousands, so they are counted
 * as they come and never one by one again.
 *
 * @module
 */

/** Upper bounds of all histograms of time; a wait beyond the last counts in the sum alone. */
export const SECONDS: readonly number[] = [
  0.001,
  0.002,
  0.005,
  0.01,
  0.02,
  0.05,
  0.1,
  0.2,
  0.5,
  1,
  2,
  5,
  10,
  30,
  60,
  300,
];

/** A histogram: how many waits were at most each bound and above the one before. */
export class TokenGaps {
  readonly counts: number[] = SECONDS.map(() => 0);
  sum = 0;
  count = 0;

  /** A wait that `numTokens` tokens had each. */
  add(seconds: number, numTokens: number): void {
    const bound = SECONDS.findIndex((bound) => seconds <= bound);
    if (bound >= 0) this.counts[bound]! += numTokens;
    this.sum += seconds * numTokens;
    this.count += numTokens;
  }

  /** Adds another's. */
  merge(other: TokenGaps): void {
    other.counts.forEach((count, i) => this.counts[i]! += count);
    this.sum += other.sum;
    this.count += other.count;
  }
}

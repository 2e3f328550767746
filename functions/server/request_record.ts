/**
 * What is worth knowing about a request once it is over: read by the access log and the histograms.
 *
 * @module
 */
import type { Generation } from "../../engine/types.ts";
import { TokenGaps } from "./token_gaps.ts";

/** nginx's word for a caller that left; callers never see it. */
export const CALLER_LEFT = 499;

/** Times are in milliseconds since the request came. */
export class RequestRecord {
  readonly #start = performance.now();
  promptTokens = 0;
  cachedTokens = 0;
  outputTokens = 0;
  /** Of each of its generations that got as far as a first token. */
  readonly queueMs: number[] = [];
  firstTokenMs: number | undefined;
  /** Waits before tokens but the first. */
  readonly tokenGaps = new TokenGaps();
  /** When all of its prompts were queued. */
  #queuedMs = 0;
  /** From a generation's first step to its first token, of each. */
  readonly prefillMs: number[] = [];
  lastTokenMs = 0;
  endedMs = 0;
  /** Tokens of the longest sequence. */
  longestOutput = 0;
  /** Resolves when the answer has left, or its reader has. */
  finished: Promise<void> = Promise.resolve();
  /** The caller left before the end. */
  left = false;
  /** What went wrong after the head of a 200 had left. */
  failedStatus: number | undefined;

  /** Milliseconds since the request came. */
  elapsedMs(): number {
    return performance.now() - this.#start;
  }

  /** Notes that tokens came out just now. */
  tokensCame(numTokens: number): void {
    if (numTokens === 0) return;
    const now = this.elapsedMs();
    const isFirst = this.firstTokenMs === undefined;
    this.firstTokenMs ??= now;
    // Tokens that come together waited together; those beside the first did not wait at all.
    const seconds = isFirst ? 0 : (now - this.lastTokenMs) / 1000 / numTokens;
    this.tokenGaps.add(seconds, isFirst ? numTokens - 1 : numTokens);
    this.lastTokenMs = now;
  }

  /** The status to tell of, where `answered` was in the head that left. */
  statusOf(answered: number): number {
    return this.left ? CALLER_LEFT : this.failedStatus ?? answered;
  }

  /** Notes that its prompts are encoded and queued. */
  queued(): void {
    this.#queuedMs = this.elapsedMs();
  }

  /** Adds what a generation used; `firstMs`: when its first token came. */
  generationEnded(generation: Generation, firstMs: number | undefined): void {
    this.promptTokens += generation.promptTokens.length;
    this.cachedTokens += generation.numCachedTokens;
    this.outputTokens += generation.numOutputTokens;
    const { queueMs } = generation;
    if (queueMs === undefined) return;
    this.queueMs.push(queueMs);
    if (firstMs !== undefined) this.prefillMs.push(Math.max(0, firstMs - this.#queuedMs - queueMs));
  }
}

/**
 * Looking for a text in another, billed as it goes.
 *
 * JavaScript compares a long text at every place where it may begin, which takes as long as both lengths
 * multiplied. So only its head is looked for, and the rest compared, and billed, where the head is.
 *
 * @module
 */
import type { Run } from "./run.ts";

const HEAD = 16;

/** The offset of the first `wanted` from an offset on; -1 where there is none. */
export function find(run: Run, text: string, wanted: string, from = 0): number {
  const head = wanted.slice(0, HEAD);
  for (let at = from;; at++) {
    const start = at;
    at = text.indexOf(head, at);
    run.spend(1 + (((at < 0 ? text.length : at) - start) >> 5));
    if (at < 0 || isAt(run, text, wanted, at)) return at;
  }
}

/** The offset of the last `wanted` that ends before an offset; -1 where there is none. */
export function findLast(run: Run, text: string, wanted: string, end = text.length): number {
  const head = wanted.slice(0, HEAD);
  for (let at = end - wanted.length; at >= 0; at--) {
    const start = at;
    at = text.lastIndexOf(head, at);
    run.spend(1 + ((start - Math.max(at, 0)) >> 5));
    if (at >= 0 && isAt(run, text, wanted, at)) return at;
  }
  return -1;
}

/** Whether `wanted`, whose head is at an offset, is there as a whole. */
function isAt(run: Run, text: string, wanted: string, at: number): boolean {
  if (wanted.length <= HEAD) return true;
  run.read(wanted);
  // Faster than `startsWith`, which goes character by character.
  return text.slice(at, at + wanted.length) === wanted;
}

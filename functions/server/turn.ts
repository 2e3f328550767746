/**
 * Work that takes milliseconds, a few of it in each turn of the event loop: however many callers want it at once,
 * others are served in between.
 *
 * @module
 */
import { setImmediate } from "node:timers";

/** Of one turn, on average: a piece of work that has begun is done, and turns behind a long one rest. */
const TURN_MS = 5;

const waiting: (() => void)[] = [];
let spentMs = 0;
let isNextAsked = false;

/** Does `work` in this turn, or in one that has time for it, behind all that came before. */
export async function inTurn<T>(work: () => T): Promise<T> {
  if (waiting.length === 0 && spentMs < TURN_MS) return measured(work);
  return await new Promise<T>((resolve, reject) => {
    waiting.push(() => {
      try {
        resolve(measured(work));
      } catch (error) {
        reject(error);
      }
    });
  });
}

function measured<T>(work: () => T): T {
  const begun = performance.now();
  try {
    return work();
  } finally {
    spentMs += performance.now() - begun;
    askNext();
  }
}

function askNext(): void {
  if (!isNextAsked) setImmediate(next);
  isNextAsked = true;
}

function next(): void {
  isNextAsked = false;
  spentMs = Math.max(0, spentMs - TURN_MS);
  while (waiting.length > 0 && spentMs < TURN_MS) waiting.shift()!();
  if (spentMs > 0) askNext();
}

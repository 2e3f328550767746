/**
 * Waiting, but not for ever.
 *
 * @module
 */

/** What {@linkcode within} gives for a promise that took too long. */
export const LATE = Symbol("late");

/** The promise's value, or {@linkcode LATE} when it is not there after `ms`. */
export async function within<T>(promise: Promise<T>, ms: number): Promise<T | typeof LATE> {
  const { promise: late, resolve } = Promise.withResolvers<typeof LATE>();
  const timer = setTimeout(() => resolve(LATE), ms);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

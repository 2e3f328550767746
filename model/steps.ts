/**
 * Work that can be left and gone on with.
 *
 * @module
 */

/** Work that is done once its generator is; between two steps, of a few milliseconds, others have a turn. */
export type Steps<T> = Generator<undefined, T, void>;

/** All of it at once. */
export function finished<T>(steps: Steps<T>): T {
  let step = steps.next();
  while (!step.done) step = steps.next();
  return step.value;
}

/**
 * A list in an answer whose items are made when they are written: an answer with a million log probabilities
 * takes seconds to make, in which nobody else would be served.
 *
 * @module
 */

/** In JSON a list like any other. */
export class LazyList<T> implements Iterable<T> {
  readonly #make: () => Iterator<T>;

  /** @param make begins anew each time; items say the same whenever they are made */
  constructor(make: () => Iterator<T>) {
    this.#make = make;
  }

  [Symbol.iterator](): Iterator<T> {
    return this.#make();
  }

  toJSON(): T[] {
    return [...this];
  }
}

/** The items of `list`, each turned into what is told of it. */
export function lazily<T, U>(list: Iterable<T>, tell: (item: T) => U): LazyList<U> {
  return new LazyList(function* () {
    for (const item of list) yield tell(item);
  });
}

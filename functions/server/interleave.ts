/**
 * Several async iterables as one, in the order in which their values come.
 *
 * @module
 */

/** Yields each value with the number of its source. Leaving the loop returns every source. */
export async function* interleave<T>(
  sources: readonly AsyncIterable<T>[],
): AsyncGenerator<{ readonly source: number; readonly value: T }> {
  if (sources.length === 1) { // by far the most; a race for each value costs more than the value
    for await (const value of sources[0]!) yield { source: 0, value };
    return;
  }
  const iterators = sources.map((source) => source[Symbol.asyncIterator]());
  const next = async (source: number) => ({ source, result: await iterators[source]!.next() });
  const waiting = new Map(iterators.map((_, source) => [source, next(source)]));
  try {
    while (waiting.size > 0) {
      const { source, result } = await Promise.race(waiting.values());
      if (result.done) waiting.delete(source);
      else {
        waiting.set(source, next(source));
        yield { source, value: result.value };
      }
    }
  } finally {
    waiting.forEach((one) => one.catch(() => {}));
    await Promise.allSettled(iterators.map((iterator) => iterator.return?.()));
  }
}

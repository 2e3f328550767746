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
  /** Values that are there, in their order; each source has one at most. */
  const ready: { readonly source: number; readonly result: IteratorResult<T> }[] = [];
  let numOpen = sources.length;
  let failure: { readonly reason: unknown } | undefined;
  let wake: (() => void) | undefined;
  // A race of all sources for each value would leave a reaction at every source that waits.
  const pull = (source: number) => {
    iterators[source]!.next().then(
      (result) => void ready.push({ source, result }),
      (reason) => failure ??= { reason },
    ).finally(() => wake?.());
  };
  try {
    iterators.forEach((_, source) => pull(source));
    while (numOpen > 0) {
      const next = ready.shift();
      if (next === undefined) {
        if (failure !== undefined) throw failure.reason;
        await new Promise<void>((resolve) => wake = resolve);
      } else if (next.result.done) numOpen--;
      else {
        pull(next.source);
        yield { source: next.source, value: next.result.value };
      }
    }
  } finally {
    // Not awaited: a source that waits returns when it is woken, by whoever cancels it.
    for (const iterator of iterators) iterator.return?.().catch(() => {});
  }
}

/**
 * Time as it is for a thread that never waits for a core, so that bounds hold on a busy machine.
 *
 * @module
 */

/** What a thread did since it began; the rest of the time it was blocked or had nothing to do. */
export interface ThreadTimes {
  readonly ranMs: number;
  /** It could have run, and others had the cores. */
  readonly waitedMs: number;
}

/**
 * Linux's account of this thread (`deno test` runs each file in a thread of its own), or of the main
 * thread of another process, whose id is the process's. Zeros elsewhere than on Linux.
 */
export function threadTimes(pid?: number): ThreadTimes {
  if (Deno.build.os !== "linux") return { ranMs: 0, waitedMs: 0 };
  const thread = pid === undefined ? "thread-self" : `${pid}/task/${pid}`;
  const [ranNs, waitedNs] = Deno.readTextFileSync(`/proc/${thread}/schedstat`).split(" ");
  return { ranMs: Number(ranNs) / 1e6, waitedMs: Number(waitedNs) / 1e6 };
}

/** Milliseconds on a clock that stands still while this thread waits for a core. */
export function ownTimeMs(): number {
  return performance.now() - threadTimes().waitedMs;
}

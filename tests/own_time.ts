/**
 * Time as it is for a process that never waits for a core, so that bounds hold on a busy machine.
 *
 * @module
 */

/**
 * Milliseconds on a clock that stands still while the main thread of a process could run and another
 * had the core. On Linux the main thread's id is the process's; the second number of its schedstat is
 * the nanoseconds it waited. Elsewhere the wall's time.
 */
export function ownTimeMs(pid: number = Deno.pid): number {
  return performance.now() - waitedForCoreMs(pid);
}

/** Milliseconds that a process's main thread could have run but had no core, since it began. */
export function waitedForCoreMs(pid: number = Deno.pid): number {
  if (Deno.build.os !== "linux") return 0;
  return Number(Deno.readTextFileSync(`/proc/${pid}/task/${pid}/schedstat`).split(" ")[1]) / 1e6;
}

/**
 * Memory goes back to the machine when a server has nothing to do. V8 collects when it needs memory, so that after
 * a large request all that it took would stay until the next.
 *
 * @module
 */
import process from "node:process";
import { trimMemory } from "../../ffi/c_library.ts";

const EVERY_MS = 10_000;
/** Less is left to V8. */
const GROWN_BYTES = 32 << 20;

/** Collects while nothing runs, where Deno was told to let us (`--v8-flags=--expose-gc`). */
export function giveMemoryBack(isIdle: () => boolean): void {
  const { gc } = globalThis as { gc?: () => void };
  if (gc === undefined) return;
  let keptBytes = 0;
  let wasIdle = false;
  const timer = setInterval(() => {
    const isStill = wasIdle && isIdle();
    wasIdle = isIdle();
    const { rss } = process.memoryUsage();
    if (!isStill || rss - keptBytes < GROWN_BYTES) return;
    gc();
    trimMemory();
    keptBytes = process.memoryUsage().rss;
  }, EVERY_MS);
  Deno.unrefTimer(timer);
}

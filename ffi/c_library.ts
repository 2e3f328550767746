/**
 * What the C library says and does for this process. It comes with ours, so that no other permission is needed:
 * Deno lets nobody read `/proc/self/limits` but who may do all.
 *
 * @module
 */
import { defaultLibraryPath } from "./library.ts";

/** `RLIMIT_NOFILE` of Linux. */
const OPEN_FILES = 7;

const SYMBOLS = {
  getrlimit: { parameters: ["i32", "buffer"], result: "i32" },
  malloc_trim: { parameters: ["usize"], result: "i32" },
} as const;

/** The soft limit (`ulimit -n`); undefined where it cannot be told. */
export function openFilesLimit(): number | undefined {
  return withLibrary(({ getrlimit }) => {
    const limits = new BigUint64Array(2);
    return getrlimit(OPEN_FILES, limits) === 0 ? Number(limits[0]) : undefined;
  });
}

/** Gives memory back that was freed and kept for later. */
export function trimMemory(): void {
  withLibrary(({ malloc_trim }) => malloc_trim(0n));
}

/** Undefined where there is none: who opens the engine says what is wrong with the library. */
function withLibrary<T>(
  use: (symbols: Deno.DynamicLibrary<typeof SYMBOLS>["symbols"]) => T,
): T | undefined {
  if (Deno.build.os !== "linux") return undefined;
  let library: Deno.DynamicLibrary<typeof SYMBOLS>;
  try {
    library = Deno.dlopen(defaultLibraryPath(), SYMBOLS);
  } catch {
    return undefined;
  }
  try {
    return use(library.symbols);
  } finally {
    library.close();
  }
}

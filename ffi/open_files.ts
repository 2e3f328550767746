/**
 * How many files this process may have open. Deno lets nobody read `/proc/self/limits` but who may do all,
 * so the C library is asked, which comes with ours.
 *
 * @module
 */
import { defaultLibraryPath } from "./library.ts";

/** `RLIMIT_NOFILE` of Linux. */
const OPEN_FILES = 7;

/** The soft limit (`ulimit -n`); undefined where it cannot be told. */
export function openFilesLimit(): number | undefined {
  if (Deno.build.os !== "linux") return undefined;
  try {
    const library = Deno.dlopen(defaultLibraryPath(), {
      getrlimit: { parameters: ["i32", "buffer"], result: "i32" },
    });
    const limits = new BigUint64Array(2);
    const status = library.symbols.getrlimit(OPEN_FILES, limits);
    library.close();
    return status === 0 ? Number(limits[0]) : undefined;
  } catch {
    return undefined; // who opens the engine says what is wrong with the library
  }
}

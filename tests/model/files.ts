/**
 * Files that live as long as one test.
 *
 * @module
 */
import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { ModelError } from "../../model/spec.ts";
import { ownTimeMs } from "../own_time.ts";

/** Deno's own cache stays where it is when XDG_CACHE_HOME moves. */
export const DENO_FOLDER: string = Deno.env.get("DENO_DIR") ??
  join(Deno.env.get("XDG_CACHE_HOME") ?? join(Deno.env.get("HOME") ?? "/", ".cache"), "deno");

/** A folder that is removed when its `using` block ends. */
export class ScratchFolder implements Disposable {
  readonly path: string = Deno.makeTempDirSync({ prefix: "hearth-test-" });

  /** Writes a file below the folder and returns its path. */
  write(name: string, content: Uint8Array | string): string {
    const path = join(this.path, name);
    Deno.mkdirSync(dirname(path), { recursive: true });
    if (typeof content === "string") Deno.writeTextFileSync(path, content);
    else Deno.writeFileSync(path, content);
    return path;
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

/** A folder with a `python3` of our own making, for PATH. */
export function fakePython(folder: ScratchFolder, script: string): string {
  const path = folder.write("bin/python3", `#!/bin/sh\n${script}\n`);
  Deno.chmodSync(path, 0o755);
  return `${folder.path}/bin:/usr/bin:/bin`;
}

/** Opening must fail with a ModelError whose message matches, and within two seconds. */
export async function assertRefused(open: () => unknown, message: RegExp): Promise<void> {
  const start = ownTimeMs();
  let error: unknown;
  try {
    await open();
  } catch (thrown) {
    error = thrown;
  }
  assert.ok(error instanceof ModelError, `expected a ModelError, got ${error ?? "no error"}`);
  assert.match(error.message, message);
  assert.ok(!error.message.includes("\n"), `one line: ${error.message}`);
  assert.ok(ownTimeMs() - start < 2000, "refused within two seconds");
}

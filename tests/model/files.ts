/**
 * Files that live as long as one test.
 *
 * @module
 */
import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { ModelError } from "../../model/spec.ts";
import { ownTimeMs } from "../own_time.ts";

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

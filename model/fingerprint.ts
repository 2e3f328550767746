/**
 * A cheap name for a set of weights.
 *
 * @module
 */
import { createHash } from "node:crypto";

/**
 * 64 bits that change when a weights file does: over names, sizes, modification times and headers.
 * The weights themselves are not read, so a file that is altered in place within its own
 * modification time goes unnoticed.
 *
 * @param files paths of the weights, in order
 * @param headers what was read of each: metadata, names and places of tensors
 */
export function fingerprint(files: readonly string[], headers: readonly Uint8Array[]): bigint {
  const hash = createHash("sha256");
  for (const [i, path] of files.entries()) {
    const { size, mtime } = Deno.statSync(path);
    hash.update(`${path.split("/").at(-1)}\0${size}\0${mtime?.getTime() ?? 0}\0`);
    hash.update(headers[i] ?? new Uint8Array(0));
  }
  return hash.digest().readBigUInt64LE(0);
}

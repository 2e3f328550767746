/**
 * Names of callers as numbers: the salts of the prefix cache, and who has turns.
 *
 * @module
 */
import { createHash } from "node:crypto";

/** 128 bits of SHA-256: two callers share warm blocks only when they know the same salt. */
export function saltBits(salt: string): readonly [bigint, bigint] {
  const digest = createHash("sha256").update(salt).digest();
  return [digest.readBigUInt64LE(0), digest.readBigUInt64LE(8)];
}

/** The first 64 of them; 0 for the nameless one. */
export function callerBits(caller: string): bigint {
  return caller === "" ? 0n : saltBits(caller)[0];
}

/**
 * Salts of the prefix cache.
 *
 * @module
 */
import { createHash } from "node:crypto";

/** 128 bits of SHA-256: two callers share warm blocks only when they know the same salt. */
export function saltBits(salt: string): readonly [bigint, bigint] {
  const digest = createHash("sha256").update(salt).digest();
  return [digest.readBigUInt64LE(0), digest.readBigUInt64LE(8)];
}

/**
 * Routes that ask all day long whether all is well: open to all, and silent.
 *
 * @module
 */

/** Their paths. */
export const PROBES: ReadonlySet<string> = new Set(["/health", "/ready"]);

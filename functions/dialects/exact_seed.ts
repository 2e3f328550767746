/**
 * Seeds of 64 bits. JSON's numbers are doubles here, which hold 53 bits: a longer one is read from the text.
 * A reviver of `JSON.parse` would see the text too, but takes four seconds for a million values.
 *
 * @module
 */

// No string has a quote in it without a backslash before, so this is a name, of whatever object.
const WRITTEN = /(?<!\\)"seed"\s*:\s*(-?\d{16,20})(?![\d.eE])/g;

/**
 * A body with its seed as a bigint where a number cannot hold it. One that is not written in digits, or that
 * another object of the body has nearly the same of, stays a number, which is refused.
 *
 * @param text what `json` was parsed from
 */
export function withExactSeed(json: unknown, text: string): unknown {
  const { seed } = (json ?? {}) as { readonly seed?: unknown };
  if (!Number.isInteger(seed) || Number.isSafeInteger(seed)) return json;
  const written = text.matchAll(WRITTEN).map(([, digits]) => BigInt(digits!));
  const [exact, ...others] = new Set(written.filter((one) => Number(one) === seed));
  return exact === undefined || others.length > 0 ? json : { ...json as object, seed: exact };
}

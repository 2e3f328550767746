/**
 * Optional fields, left out instead of set to nothing.
 *
 * @module
 */

/** An object without its null and undefined fields. */
export function present<T extends object>(fields: T): { [K in keyof T]?: NonNullable<T[K]> } {
  const entries = Object.entries(fields).filter(([, value]) =>
    value !== null && value !== undefined
  );
  return Object.fromEntries(entries) as { [K in keyof T]?: NonNullable<T[K]> };
}

/**
 * `attribute="address.city"` of filters that look into items.
 *
 * @module
 */
import { getItem } from "./attributes.ts";
import type { Run } from "./run.ts";
import { isStr, mapped, plain } from "./text.ts";
import { Undefined, type Value } from "./values.ts";

/** What a filter takes of each item. */
export type Getter = (item: Value) => Value;

/** How a getter differs from plain looking up. */
export interface GetterOptions {
  /** Texts are compared in lower case. */
  readonly ignoreCase?: boolean;
  /** In place of what is not there; null for none. */
  readonly otherwise?: Value;
}

/** Follows a path with dots; null gives the item itself. */
export function attributeGetter(
  run: Run,
  attribute: Value,
  { ignoreCase = false, otherwise = null }: GetterOptions = {},
): Getter {
  if (isStr(attribute)) run.makeItems(plain(attribute).length);
  const parts = partsOf(attribute);
  return (item) => {
    let value = item;
    for (const part of parts) {
      value = getItem(run, value, part);
      if (otherwise !== null && value instanceof Undefined) value = otherwise;
    }
    return ignoreCase ? lowered(run, value) : value;
  };
}

/** The same for several paths with commas between, as a list. */
export function attributesGetter(run: Run, attribute: Value, ignoreCase: boolean): Getter {
  if (isStr(attribute)) run.makeItems(plain(attribute).length);
  const paths = isStr(attribute) ? plain(attribute).split(",") : [attribute];
  const getters = paths.map((path) => attributeGetter(run, path, { ignoreCase }));
  return (item) => getters.map((get) => get(item));
}

function partsOf(attribute: Value): Value[] {
  if (attribute === null) return [];
  if (!isStr(attribute)) return [attribute];
  return plain(attribute).split(".").map((part) => /^\d+$/.test(part) ? Number(part) : part);
}

/** A text in lower case, anything else as it is. */
export function lowered(run: Run, value: Value): Value {
  return isStr(value) ? mapped(run, value, (text) => text.toLowerCase()) : value;
}

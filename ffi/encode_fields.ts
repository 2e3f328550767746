/**
 * From a table's entries to the fields of a struct.
 *
 * @module
 */
import { type Field, type Fields, snakeCase } from "./field.ts";
import type { FieldType, Struct, StructValue } from "./struct.ts";

/**
 * A struct that holds what a table has scalars for, and 0 elsewhere.
 *
 * @param values by the table's names; what is absent becomes 0 or the code of its default
 */
export function encodeFields<F extends Record<string, FieldType>>(
  struct: Struct<F>,
  fields: Fields,
  values: object,
): StructValue<F> {
  const given = values as Readonly<Record<string, unknown>>;
  const encoded: Record<string, unknown> = struct.decode(struct.allocate());
  for (const [name, field] of Object.entries(fields)) {
    const { inC = snakeCase(name) } = field;
    if (inC === null) continue;
    if (!Object.hasOwn(encoded, inC)) {
      throw new Error(`Cannot encode ${name}: ${struct.cName} has no field ${inC}`);
    }
    encoded[inC] = scalarOf(field, given[name]);
  }
  return encoded as StructValue<F>;
}

function scalarOf(field: Field, value: unknown): unknown {
  if (field.kind === "switch") return Number(value !== undefined && value !== field.default);
  if (field.kind === "choice" && field.codes) return field.codes[String(value ?? field.default)];
  return value ?? 0;
}

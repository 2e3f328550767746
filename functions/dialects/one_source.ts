/**
 * Bodies that have exactly one of several fields; null is as good as absent.
 *
 * @module
 */
import { HttpError } from "./http_error.ts";

/** Such fields by name, with their type in JSON. */
type Sources = Readonly<Record<string, "string" | "array">>;

/** @throws {HttpError} where a body has none of them, or several */
export function requireOne(sources: Sources, body: object): void {
  const fields = Object.keys(sources);
  const values = body as Readonly<Record<string, unknown>>;
  const given = fields.filter((field) => values[field] !== null && values[field] !== undefined);
  if (given.length === 1) return;
  const found = given.length === 0 ? "none" : given.join(", ");
  const message = `Cannot read request: give exactly one of ${
    fields.join(", ")
  }: given are ${found}`;
  throw new HttpError(400, "invalid_value", message, given[1] ?? fields[0]!);
}

/** The same rule for a schema's description. */
export function describeOne(sources: Sources): object {
  const branches = Object.entries(sources).map(([field, type]) => ({
    required: [field],
    properties: { [field]: { type } },
  }));
  return { allOf: [{ oneOf: branches }] };
}

/**
 * The sentence of a field that breaks a rule, as the library makes it (csrc/error.h).
 *
 * @module
 */
import { EngineError } from "./types.ts";

/**
 * @param doing how the sentence begins: `Cannot submit request`
 * @param rule what follows "must": `be 0 to 2`
 * @throws {EngineError} `invalid_argument` with these parts
 */
export function refuse(
  doing: string,
  field: string,
  rule: string,
  found: number | bigint | string,
): never {
  const value = String(found);
  const message = `${doing}: ${field} must ${rule}: current value is ${value}`;
  throw new EngineError("invalid_argument", message, { field, rule, value });
}

/**
 * Refusals of a field that breaks a rule.
 *
 * @module
 */
import { EngineError, type EngineErrorCode, ruleSentence } from "../ffi/errors.ts";

/** How a refused request's sentence begins. */
export const SUBMITTING = "Cannot submit request";

/**
 * @param doing how the sentence begins
 * @param rule what follows "must": `be 0 to 2`
 * @param found what the field holds; undefined where there is nothing to show
 * @throws {EngineError} with these parts as data
 */
export function refuse(
  doing: string,
  field: string,
  rule: string,
  found: number | bigint | string | undefined,
  code: EngineErrorCode = "invalid_argument",
): never {
  const broken = { field, rule, value: found === undefined ? undefined : String(found) };
  throw new EngineError(code, ruleSentence(doing, broken), broken);
}

/**
 * Refusals of a field that breaks a rule.
 *
 * @module
 */
import { EngineError, type EngineErrorCode, ruleSentence } from "../ffi/errors.ts";
import type { FieldKind } from "../ffi/field.ts";
import { brokenRule } from "../ffi/field_rule.ts";

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

/**
 * The rule of what has to fit the context. It ends in OpenAI's words: clients tell this refusal from
 * others by them, and not by its code.
 *
 * @param rule what follows "must": `have at most 2048 tokens`
 */
export function contextRule(rule: string, maxModelLen: number): string {
  return `${rule}, as this model's maximum context length is ${maxModelLen} tokens`;
}

/**
 * Refuses a value that its table's entry does not allow; nothing is always allowed.
 *
 * @param doing how the sentence begins
 * @throws {EngineError} `invalid_argument` with the name in `field`
 */
export function checkField(doing: string, name: string, field: FieldKind, value: unknown): void {
  const rule = value === undefined ? undefined : brokenRule(field, value);
  if (rule !== undefined) refuse(doing, name, rule, String(value));
}

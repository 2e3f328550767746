/**
 * Checks made of a table's entries.
 *
 * @module
 */
import { boundsOf, type FieldKind } from "./field.ts";

/**
 * The rule that a value breaks, to be read behind "must": `be >= 0 and <= 2`; undefined where it breaks
 * none. What is no scalar (texts, lists of tokens) has its rules where it is read.
 */
export function brokenRule(field: FieldKind, value: unknown): string | undefined {
  switch (field.kind) {
    case "number":
    case "integer":
    case "bytes":
      return brokenBounds(boundsOf(field), value as number);
    case "share":
      return value as number > 0 && value as number <= 1 ? undefined : "be above 0 and at most 1";
    case "choice":
      return field.choices.includes(value as string)
        ? undefined
        : `be one of ${field.choices.join(", ")}`;
    case "name":
      return field.pattern.test(String(value)) ? undefined : `be one of ${field.forms.join(", ")}`;
    case "seed":
      return isSeed(value) ? undefined : "be an integer of at most 64 bits";
    default:
      return undefined;
  }
}

/** Signed or not; a number beyond 2^53 has been rounded somewhere. */
function isSeed(value: unknown): boolean {
  if (typeof value !== "bigint") return Number.isSafeInteger(value);
  return value >= -(2n ** 63n) && value < 2n ** 64n;
}

function brokenBounds(
  { min, above, max, whole }: ReturnType<typeof boundsOf>,
  value: number,
): string | undefined {
  const fits = Number.isFinite(value) && (!whole || Number.isInteger(value)) &&
    value >= (min ?? -Infinity) && value > (above ?? -Infinity) && value <= (max ?? Infinity);
  if (fits) return undefined;
  const bounds = [
    ...min === undefined ? [] : [`>= ${min}`],
    ...above === undefined ? [] : [`> ${above}`],
    ...max === undefined ? [] : [`<= ${max}`],
  ];
  return `be ${whole ? "an integer " : ""}${bounds.join(" and ")}`;
}

/**
 * Numbers as `%5.2f` and `{:>8,}` write them.
 *
 * @module
 */
import { fixed, floatText, type Int, leadingDigits, payFor, powerText } from "./numbers.ts";
import { fail, type Run } from "./run.ts";

/** How a number is written; its padding comes after. */
export interface NumberStyle {
  /** The letter that ends a format: d, x, f, g and the like; empty for none. */
  readonly type: string;
  readonly sign: "-" | "+" | " ";
  /** `z`: what is rounded to zero has no minus. */
  readonly noNegativeZero: boolean;
  /** `#` */
  readonly alternate: boolean;
  readonly precision: number | undefined;
  /** What stands between groups of digits. */
  readonly grouping: "" | "," | "_";
}

/** A number in its parts: zeros go between sign and digits. */
export interface NumberText {
  readonly sign: string;
  readonly digits: string;
}

const RADIXES: Readonly<Record<string, number>> = { b: 2, o: 8, x: 16, X: 16 };

/** An int, in the base that the type names. */
export function intParts(run: Run, value: Int, style: NumberStyle): NumberText {
  payFor(run, value);
  const negative = value < 0;
  const radix = RADIXES[style.type] ?? 10;
  let digits = (negative ? -BigInt(value) : BigInt(value)).toString(radix);
  if (style.type === "X") digits = digits.toUpperCase();
  digits = grouped(digits, style.grouping, radix === 10 ? 3 : 4);
  const prefix = style.alternate && radix !== 10 ? `0${style.type}` : "";
  return { sign: signOf(negative, style) + prefix, digits };
}

/** A float, in the notation that the type names. */
export function floatParts(run: Run, value: number, style: NumberStyle): NumberText {
  const upper = /[EFG]/.test(style.type);
  const digits = floatDigits(run, Math.abs(value), style);
  const isZero = style.noNegativeZero && !/[1-9]|inf/.test(digits);
  const sign = signOf(!isZero && (value < 0 || Object.is(value, -0)), style);
  return { sign, digits: upper ? digits.toUpperCase() : digits };
}

function floatDigits(run: Run, value: number, style: NumberStyle): string {
  const type = style.type.toLowerCase();
  if (!Number.isFinite(value)) return floatText(value) + (type === "%" ? "%" : "");
  const precision = style.precision ?? 6;
  // Digits cost time that grows with their square.
  if (precision > 1000) fail("a number's precision must be at most 1000");
  run.make(precision + 310);
  switch (type) {
    case "e":
      return exponential(...leadingDigits(value, precision + 1), style.alternate);
    case "f":
      return groupWhole(point(fixed(value, precision), style), style);
    case "%":
      if (!Number.isFinite(value * 100)) return "inf%";
      return `${groupWhole(point(fixed(value * 100, precision), style), style)}%`;
    case "g":
      return groupWhole(general(value, precision, style.alternate), style);
    default:
      // Without a type: as it prints, or as `g` with a digit behind the point.
      if (style.precision === undefined) return groupWhole(floatText(value), style);
      return groupWhole(plainGeneral(value, precision), style);
  }
}

function point(text: string, { alternate }: NumberStyle): string {
  return alternate && !text.includes(".") ? `${text}.` : text;
}

function exponential(digits: string, exponent: number, alternate: boolean): string {
  const fraction = digits.slice(1);
  const mantissa = digits[0]! + (fraction !== "" || alternate ? `.${fraction}` : "");
  return mantissa + powerText(exponent);
}

function general(value: number, precision: number, alternate: boolean): string {
  const count = Math.max(1, precision);
  const [digits, exponent] = leadingDigits(value, count);
  const kept = alternate ? digits : digits[0] + digits.slice(1).replace(/0+$/, "");
  if (exponent < -4 || exponent >= count) return exponential(kept, exponent, alternate);
  if (exponent < 0) return `0.${"0".repeat(-exponent - 1)}${kept}`;
  const whole = digits.slice(0, exponent + 1);
  const fraction = kept.slice(exponent + 1);
  return fraction !== "" || alternate ? `${whole}.${fraction}` : whole;
}

function plainGeneral(value: number, precision: number): string {
  const count = Math.max(1, precision);
  const [digits, exponent] = leadingDigits(value, count);
  // One digit less before the exponent comes, as a digit behind the point is due.
  if (exponent >= -4 && exponent < count - (exponent >= 0 ? 1 : 0)) {
    const text = general(value, precision, false);
    return text.includes(".") ? text : `${text}.0`;
  }
  const kept = digits[0] + digits.slice(1).replace(/0+$/, "");
  return exponential(kept, exponent, false);
}

function signOf(negative: boolean, { sign }: NumberStyle): string {
  return negative ? "-" : sign === "-" ? "" : sign;
}

function groupWhole(text: string, { grouping }: NumberStyle): string {
  if (grouping === "") return text;
  const whole = /^\d+/.exec(text)?.[0] ?? "";
  return grouped(whole, grouping, 3) + text.slice(whole.length);
}

/** Digits in groups from the right. */
export function grouped(digits: string, separator: string, size: number): string {
  if (separator === "") return digits;
  const first = digits.length % size;
  let result = digits.slice(0, first);
  for (let at = first; at < digits.length; at += size) {
    result += (at > 0 ? separator : "") + digits.slice(at, at + size);
  }
  return result;
}

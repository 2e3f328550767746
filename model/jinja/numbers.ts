/**
 * Python's numbers: ints without bounds (nearly), floats that are told from them, and how both print.
 *
 * @module
 */
import { fail, type Run } from "./run.ts";
import { Float, type Value } from "./values.ts";

/** An int. */
export type Int = number | bigint;

/** Python refuses to print ints of more than 4,300 digits; these have about as many. */
const MAX_INT_BITS = 14_300;

/** Python's limit of an int's digits, where it is read or printed. */
export const MAX_DIGITS = 4300;

/** An int of either kind, in the form that values have. */
export function toInt(value: bigint): Int {
  return BigInt.asIntN(54, value) === value && Number.isSafeInteger(Number(value))
    ? Number(value)
    : value;
}

/** A value as int or float; undefined for what is no number. Booleans are 0 and 1, as in Python. */
export function asNumber(value: Value): Int | Float | undefined {
  if (typeof value === "number" || typeof value === "bigint" || value instanceof Float) {
    return value;
  }
  return typeof value === "boolean" ? Number(value) : undefined;
}

/** A value as int; undefined for others, floats too. */
export function asInt(value: Value): Int | undefined {
  const number = asNumber(value);
  return number instanceof Float ? undefined : number;
}

/** The nearest number of JavaScript's; an int may be too large. */
export function toDouble(value: Int | Float): number {
  if (value instanceof Float) return value.value;
  const number = Number(value);
  return Number.isFinite(number) ? number : fail("int too large to convert to float");
}

/** An int where Python wants one, that JavaScript can count with. */
export function toIndex(value: Value, what: string): number {
  const number = asInt(value) ?? fail(`${what} must be an integer`);
  return Number(number);
}

/** Whether an int is 0, of either kind. */
function isZero(value: Int): boolean {
  return value === 0 || value === 0n;
}

type Operator = "+" | "-" | "*" | "/" | "//" | "%" | "**";

/** Python's arithmetic. */
export function calculate(operator: Operator, a: Int | Float, b: Int | Float): Value {
  if (a instanceof Float || b instanceof Float) return floats(operator, toDouble(a), toDouble(b));
  if (operator === "/") {
    return isZero(b) ? fail("division by zero") : new Float(divideInts(a, b));
  }
  if (typeof a === "number" && typeof b === "number") {
    const result = smallInts(operator, a, b);
    if (Number.isSafeInteger(result)) return result === 0 ? 0 : result;
  }
  return bigInts(operator, BigInt(a), BigInt(b));
}

/** Right where the result is safe; NaN is left to what takes longer. */
function smallInts(operator: Operator, a: number, b: number): number {
  switch (operator) {
    case "+":
      return a + b;
    case "-":
      return a - b;
    case "*":
      return a * b;
    case "%":
      return ((a % b) + b) % b;
    default:
      return NaN;
  }
}

function bigInts(operator: Operator, a: bigint, b: bigint): Value {
  switch (operator) {
    case "+":
      return bounded(a + b);
    case "-":
      return bounded(a - b);
    case "*":
      return bounded(a * b);
    case "//":
    case "%": {
      if (b === 0n) fail("integer division or modulo by zero");
      const remainder = ((a % b) + b) % b;
      return toInt(operator === "%" ? remainder : (a - remainder) / b);
    }
    default:
      break;
  }
  if (b < 0n) return floats("**", Number(a), Number(b));
  // Known before it is made.
  const bits = (a < 0n ? -a : a).toString(2).length;
  if (a !== 0n && a !== 1n && a !== -1n && BigInt(bits - 1) * b > MAX_INT_BITS) tooLong();
  return bounded(a ** b);
}

function bounded(value: bigint): Int {
  return value >> BigInt(MAX_INT_BITS) === 0n || -value >> BigInt(MAX_INT_BITS) === 0n
    ? toInt(value)
    : tooLong();
}

function tooLong(): never {
  fail(`an int must have at most ${MAX_INT_BITS} bits`);
}

function divideInts(a: Int, b: Int): number {
  if (typeof a === "number" && typeof b === "number") return a / b;
  return toDouble(a) / toDouble(b);
}

function floats(operator: Operator, a: number, b: number): Float {
  switch (operator) {
    case "+":
      return new Float(a + b);
    case "-":
      return new Float(a - b);
    case "*":
      return new Float(a * b);
    case "/":
      return b === 0 ? fail("float division by zero") : new Float(a / b);
    case "//":
      return b === 0 ? fail("float floor division by zero") : new Float(floorDivide(a, b));
    case "%":
      return b === 0 ? fail("float modulo") : new Float(modulo(a, b));
    default:
      return new Float(power(a, b));
  }
}

/** In the steps of Python's own, whose rounding shows. */
function floorDivide(a: number, b: number): number {
  const remainder = a % b;
  let quotient = (a - remainder) / b;
  if (remainder !== 0 && remainder < 0 !== b < 0) quotient--;
  if (quotient === 0) return a / b < 0 || Object.is(a / b, -0) ? -0 : 0;
  const floor = Math.floor(quotient);
  return quotient - floor > 0.5 ? floor + 1 : floor;
}

/** The remainder has the divisor's sign. */
function modulo(a: number, b: number): number {
  const remainder = a % b;
  if (remainder === 0) return b < 0 ? -0 : 0;
  return remainder < 0 !== b < 0 ? remainder + b : remainder;
}

function power(a: number, b: number): number {
  if (a === 0 && b < 0) fail("0.0 cannot be raised to a negative power");
  if (a === 1) return 1;
  if (a === -1 && !Number.isFinite(b) && !Number.isNaN(b)) return 1;
  if (a < 0 && Number.isFinite(a) && Number.isFinite(b) && !Number.isInteger(b)) {
    fail("complex numbers are not supported");
  }
  const result = a ** b;
  if (!Number.isFinite(result) && Number.isFinite(a) && Number.isFinite(b)) {
    fail("(34, 'Numerical result out of range')");
  }
  return result;
}

/** What one operation on a long int takes: up to the square of its length, or what prints it. */
const LONG_INT_STEPS = 500;

/** Bills an operation that some of these numbers make long. */
export function payFor(run: Run, ...numbers: readonly (Int | Float)[]): void {
  for (const number of numbers) if (typeof number === "bigint") run.spend(LONG_INT_STEPS);
}

/** Less than, equal or greater; NaN where a float is not a number. */
export function compareNumbers(a: Int | Float, b: Int | Float): number {
  const left = a instanceof Float ? a.value : a;
  const right = b instanceof Float ? b.value : b;
  if (left < right) return -1;
  if (left > right) return 1;
  return Number.isNaN(left) || Number.isNaN(right) ? NaN : 0;
}

// --- Printing -------------------------------------------------------------------------------------

/** Python's `repr` of a float: the shortest digits, with an exponent from 1e16 and below 1e-4. */
export function floatText(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value < 0 ? "-inf" : "inf";
  if (Object.is(value, -0)) return "-0.0";
  const [mantissa = "", power = ""] = value.toExponential().split("e");
  const exponent = Number(power);
  if (exponent < -4 || exponent >= 16) return mantissa + powerText(exponent);
  const text = value.toString();
  if (text.includes("e")) return fixed(value, 20).replace(/0+$/, "");
  return Number.isInteger(value) ? `${text}.0` : text;
}

/** A power of ten behind a number: `e+05`. */
export function powerText(exponent: number): string {
  return `e${exponent < 0 ? "-" : "+"}${Math.abs(exponent).toString().padStart(2, "0")}`;
}

/** A finite float times 10 to the `digits`, rounded to even where two are as near. */
function scaled(value: number, digits: number): bigint {
  const [numerator, exponent] = binary(value);
  // value = numerator * 2 ** exponent, exactly
  let top = numerator * 10n ** BigInt(Math.max(0, digits));
  let bottom = 10n ** BigInt(Math.max(0, -digits));
  if (exponent > 0) top <<= BigInt(exponent);
  else bottom <<= BigInt(-exponent);
  return divideToEven(top, bottom);
}

function binary(value: number): [numerator: bigint, exponent: number] {
  let exponent = 0;
  let numerator = value;
  while (!Number.isInteger(numerator)) {
    numerator *= 2;
    exponent--;
  }
  return [BigInt(numerator), exponent];
}

function divideToEven(top: bigint, bottom: bigint): bigint {
  const negative = top < 0n;
  const size = negative ? -top : top;
  let quotient = size / bottom;
  const twice = (size % bottom) * 2n;
  if (twice > bottom || (twice === bottom && quotient % 2n === 1n)) quotient++;
  return negative ? -quotient : quotient;
}

/** A finite number that is not negative, with `digits` behind the point. */
export function fixed(value: number, digits: number): string {
  const text = scaled(value, digits).toString().padStart(digits + 1, "0");
  return digits === 0 ? text : `${text.slice(0, -digits)}.${text.slice(-digits)}`;
}

/** A finite number that is not negative as its first `count` digits and the power of the first. */
export function leadingDigits(value: number, count: number): [digits: string, exponent: number] {
  if (value === 0) return ["0".repeat(count), 0];
  let exponent = Number(value.toExponential().split("e")[1]);
  let digits = scaled(value, count - 1 - exponent).toString();
  if (digits.length > count) {
    exponent++;
    digits = scaled(value, count - 1 - exponent).toString();
  }
  return [digits, exponent];
}

/** Python's `round` with a number of digits. */
export function round(value: Int | Float, digits: number): Value {
  if (value instanceof Float) {
    if (!Number.isFinite(value.value) || digits > 340) return value;
    if (digits < -310) return new Float(0 * value.value);
    const number = Number(`${scaled(value.value, digits)}e${-digits}`);
    return new Float(number === 0 ? 0 * value.value : number);
  }
  if (digits >= 0) return value;
  if (-digits > MAX_INT_BITS) return 0;
  const unit = 10n ** BigInt(-digits);
  return toInt(divideToEven(BigInt(value), unit) * unit);
}

// --- Reading --------------------------------------------------------------------------------------

const FLOAT =
  /^[+-]?(?:(?:\d+(?:_\d+)*\.?(?:\d+(?:_\d+)*)?|\.\d+(?:_\d+)*)(?:e[+-]?\d+(?:_\d+)*)?|inf|infinity|nan)$/i;

/** Python's `float` of a text without white space around it; undefined where it refuses. */
export function parseFloatText(text: string): number | undefined {
  if (!FLOAT.test(text)) return undefined;
  const clean = text.replaceAll("_", "").toLowerCase();
  if (clean.endsWith("nan")) return NaN;
  if (/inf/.test(clean)) return clean.startsWith("-") ? -Infinity : Infinity;
  return Number(clean);
}

const PREFIXES: Readonly<Record<string, number>> = { "0b": 2, "0o": 8, "0x": 16 };

/** Python's `int` of a text without white space around it; undefined where it refuses. */
export function parseIntText(text: string, base: number): Int | undefined {
  const sign = /^[+-]/.exec(text)?.[0] ?? "";
  let digits = text.slice(sign.length).toLowerCase();
  const prefix = PREFIXES[digits.slice(0, 2)];
  let radix = base;
  if (prefix !== undefined && (base === 0 || base === prefix)) {
    radix = prefix;
    digits = digits.slice(2).replace(/^_/, "");
  } else if (base === 0) {
    radix = 10;
    if (/^0[0_]*[1-9]/.test(digits)) return undefined;
  }
  if (!/^[0-9a-z]+(?:_[0-9a-z]+)*$/.test(digits)) return undefined;
  if (digits.length > MAX_DIGITS) return undefined;
  let value = 0n;
  for (const digit of digits.replaceAll("_", "")) {
    const number = parseInt(digit, 36);
    if (number >= radix) return undefined;
    value = value * BigInt(radix) + BigInt(number);
  }
  return toInt(sign === "-" ? -value : value);
}

/**
 * Filters that make numbers, or texts of numbers.
 *
 * @module
 */
import { SPACE } from "./characters.ts";
import {
  asInt,
  asNumber,
  calculate,
  fixed,
  floatText,
  MAX_DIGITS,
  parseFloatText,
  parseIntText,
  round,
  toDouble,
  toIndex,
  toInt,
} from "./numbers.ts";
import { unary } from "./operators.ts";
import { fail, type Filter, type Run } from "./run.ts";
import { isStr, plain } from "./text.ts";
import { filter } from "./filter.ts";
import { Float, isTrue, textOf, typeName, Undefined, type Value } from "./values.ts";

const ENDS = new RegExp(`^[${SPACE}]+|[${SPACE}]+$`, "g");

/** A text as Python reads numbers from it. */
function numeric(run: Run, value: Value): string | undefined {
  if (!isStr(value)) return undefined;
  run.read(plain(value));
  const text = plain(value).replace(ENDS, "");
  if (/(?=\P{ASCII})\p{Nd}/u.test(text)) {
    fail(`numbers must have ASCII digits: a text has ${text.slice(0, 20)}`);
  }
  return text;
}

/** Python's `float`; undefined where it raises a TypeError or a ValueError. */
function floatOf(run: Run, value: Value): number | undefined {
  if (value instanceof Undefined) value.fail();
  const text = numeric(run, value);
  if (text !== undefined) return parseFloatText(text);
  const number = asNumber(value);
  return number === undefined ? undefined : toDouble(number);
}

function int(run: Run, value: Value, [otherwise, base]: Value[]): Value {
  if (value instanceof Undefined) value.fail();
  const text = numeric(run, value);
  if (text !== undefined) {
    const radix = Number(asInt(base!) ?? NaN);
    run.spend(Math.min(text.length, MAX_DIGITS) ** 2 >> 8);
    const isRadix = radix === 0 || (radix >= 2 && radix <= 36);
    const number = isRadix ? parseIntText(text, radix) : undefined;
    if (number !== undefined) return number;
  } else {
    const number = asNumber(value);
    if (number === undefined) return otherwise!;
    if (!(number instanceof Float)) return number;
    if (Math.abs(number.value) === Infinity) fail("cannot convert float infinity to integer");
  }
  const number = floatOf(run, value);
  return number === undefined || !Number.isFinite(number)
    ? otherwise!
    : toInt(BigInt(Math.trunc(number)));
}

function rounded(run: Run, value: Value, [precision, method]: Value[]): Value {
  const how = textOf(method!, "method");
  if (!["common", "ceil", "floor"].includes(how)) fail("method must be common, ceil or floor");
  const number = asNumber(value) ?? fail(`type ${typeName(value)} doesn't define __round__ method`);
  const digits = toIndex(precision!, "precision");
  run.spend(500); // for a power of ten, which may be as long as an int may
  if (how === "common") return round(number, digits);
  const scale = calculate("**", 10, digits);
  const product = asNumber(calculate("*", number, asNumber(scale)!))!;
  const whole = product instanceof Float
    ? toWhole(how === "ceil" ? Math.ceil(product.value) : Math.floor(product.value))
    : product;
  return calculate("/", whole, asNumber(scale)!);
}

function toWhole(value: number): number | bigint {
  if (!Number.isFinite(value)) fail(`cannot convert float ${value} to integer`);
  return toInt(BigInt(value));
}

const PREFIXES = ["k", "M", "G", "T", "P", "E", "Z", "Y"];

function fileSize(run: Run, value: Value, [binary]: Value[]): Value {
  const bytes = floatOf(run, value) ?? fail("filesizeformat takes a number");
  const isBinary = isTrue(binary!);
  const base = isBinary ? 1024 : 1000;
  if (bytes === 1) return "1 Byte";
  if (bytes < base) return `${toWhole(Math.trunc(bytes))} Bytes`;
  // A float is compared with the int itself, which no float need be.
  const index = PREFIXES.findIndex((_, i) => bytes < BigInt(base) ** BigInt(i + 2));
  const at = index < 0 ? PREFIXES.length - 1 : index;
  const prefix = isBinary ? `${PREFIXES[at]!.toUpperCase()}i` : PREFIXES[at]!;
  const size = base * bytes / base ** (at + 2);
  return `${Number.isFinite(size) ? fixed(size, 1) : floatText(size)} ${prefix}B`;
}

/** By name. */
export const NUMBER_FILTERS: Readonly<Record<string, Filter>> = {
  abs: filter("abs", "", (_, value) => {
    const number = value instanceof Undefined ? undefined : asNumber(value);
    if (number === undefined) fail(`bad operand type for abs(): '${typeName(value)}'`);
    if (number instanceof Float) return new Float(Math.abs(number.value));
    return number < 0 ? unary("-", number) : asInt(number)!;
  }),
  filesizeformat: filter("filesizeformat", "binary=False", fileSize),
  float: filter("float", "default=0.0, /", (run, value, [otherwise]) => {
    const number = floatOf(run, value);
    return number !== undefined ? new Float(number) : otherwise!;
  }),
  int: filter("int", "default=0, base=10", int),
  round: filter("round", "precision=0, method='common'", rounded),
};

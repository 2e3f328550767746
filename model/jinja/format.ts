/**
 * Python's `str.format`, its fields looked up as the sandbox does.
 *
 * @module
 */
import type { Arguments } from "./arguments.ts";
import { floatParts, grouped, intParts, type NumberStyle } from "./number_format.ts";
import { asInt, asNumber, toDouble } from "./numbers.ts";
import { asciiOnly, repr, toText } from "./printing.ts";
import { fail, type Run } from "./run.ts";
import { countPoints, cut, isStr, madeOf, offsetOf, plain, type Str, Writer } from "./text.ts";
import { Float, typeName, type Value } from "./values.ts";

/** How fields reach into values. */
export interface FieldLookup {
  attribute(value: Value, name: string): Value;
  item(value: Value, key: Value): Value;
}

interface Formatting {
  readonly run: Run;
  readonly args: Arguments;
  readonly lookup: FieldLookup;
  /** The next field without a name; undefined after one that has a number. */
  next: number | undefined;
}

/** `format.format(*args)`. */
export function formatFields(run: Run, format: Str, args: Arguments, lookup: FieldLookup): Str {
  return formatted({ run, args, lookup, next: 0 }, format, 2);
}

/** @param depth formats within formats that may still come */
function formatted(formatting: Formatting, format: Str, depth: number): Str {
  if (depth < 0) fail("Max string recursion exceeded");
  const text = plain(format);
  formatting.run.read(text);
  const writer = new Writer(formatting.run);
  for (let at = 0; at < text.length;) {
    const brace = text.slice(at).search(/[{}]/);
    const start = brace < 0 ? text.length : at + brace;
    writer.write(cut(format, at, start));
    if (start === text.length) break;
    if (text[start] === text[start + 1]) {
      writer.write(cut(format, start, start + 1));
      at = start + 2;
      continue;
    }
    if (text[start] === "}") fail("Single '}' encountered in format string");
    const end = closing(text, start);
    writer.write(replacement(formatting, cut(format, start + 1, end), depth));
    at = end + 1;
  }
  return writer.finish();
}

function closing(text: string, start: number): number {
  let depth = 0;
  let isIndex = false;
  for (let at = start; at < text.length; at++) {
    const unit = text[at];
    if (isIndex) isIndex = unit !== "]";
    else if (unit === "[" && depth === 1) isIndex = true;
    else if (unit === "{") depth++;
    else if (unit === "}" && --depth === 0) return at;
  }
  return fail(
    start + 1 === text.length
      ? "Single '{' encountered in format string"
      : "expected '}' before end of string",
  );
}

/** `name.attribute[index]`, `!r` and `:spec`, each where it is. */
const FIELD = /^((?:[^[\]!:]|\[[^\]]*\])*)(?:!(.?)(?=:|$))?(?::(.*))?$/s;

function replacement(formatting: Formatting, field: Str, depth: number): Str {
  const text = plain(field);
  const match = FIELD.exec(text) ?? fail(`a field of a format must be readable: it is {${text}}`);
  const [, name = "", conversion, { length } = ""] = match;
  const spec = cut(field, text.length - length, text.length);
  let value = fieldValue(formatting, name);
  const { run } = formatting;
  if (conversion !== undefined) value = converted(run, value, conversion);
  return formatValue(run, value, formatted(formatting, spec, depth - 1));
}

function converted(run: Run, value: Value, conversion: string): Value {
  switch (conversion) {
    case "s":
      return toText(run, value);
    case "r":
      return repr(run, value);
    case "a": {
      const text = repr(run, value);
      return madeOf(asciiOnly(plain(text)), text);
    }
    default:
      return fail(`Unknown conversion specifier '${conversion}'`);
  }
}

function fieldValue(formatting: Formatting, name: string): Value {
  const { args, lookup } = formatting;
  const first = /^[^.[]*/.exec(name)![0];
  if (first === "" && name !== "") fail("KeyError: ''");
  let value = firstValue(formatting, first, args);
  const rest = name.slice(first.length);
  const part = /\.([^.[]+)|\[([^\]]+)\]/gy;
  while (part.lastIndex < rest.length) {
    const match = part.exec(rest) ?? fail("Empty attribute in format string");
    const [, attribute, index] = match;
    value = attribute !== undefined
      ? lookup.attribute(value, attribute)
      : lookup.item(value, /^\d+$/.test(index!) ? Number(index) : index!);
  }
  return value;
}

function firstValue(formatting: Formatting, first: string, args: Arguments): Value {
  if (first !== "" && !/^\d+$/.test(first)) {
    const value = args.named.get(first);
    return value === undefined ? fail(`KeyError: '${first}'`) : value;
  }
  if (first === "") {
    if (formatting.next === undefined) manualAndAutomatic();
    return numbered(args, formatting.next++);
  }
  if (formatting.next !== undefined && formatting.next > 0) manualAndAutomatic();
  formatting.next = undefined;
  return numbered(args, Number(first));
}

function manualAndAutomatic(): never {
  fail("cannot switch between manual field specification and automatic field numbering");
}

function numbered({ positional }: Arguments, index: number): Value {
  const value = positional[index];
  return value === undefined
    ? fail(`Replacement index ${index} out of range for positional args tuple`)
    : value;
}

const SPEC = /^(?:(.)?([<>=^]))?([-+ ])?(z)?(#)?(0)?(\d+)?([,_])?(?:\.(\d+))?(.)?$/su;

/** Python's `format(value, spec)`. */
function formatValue(run: Run, value: Value, spec: Str): Str {
  const text = plain(spec);
  if (text === "") return toText(run, value);
  const isText = isStr(value);
  const number = typeof value === "boolean" ? undefined : asNumber(value);
  if (!isText && asNumber(value) === undefined) {
    fail(`unsupported format string passed to ${typeName(value)}.__format__`);
  }
  const match = SPEC.exec(text) ?? fail(`Invalid format specifier '${text}'`);
  const [
    ,
    fillText,
    alignText,
    signText,
    coerced,
    hash,
    zero,
    widthText,
    grouping,
    precision,
    type = "",
  ] = match;
  const width = Number(widthText ?? 0);
  run.make(width);
  // What it is filled up with, and a number's digits, come from where the format does.
  const by = (made: string) => madeOf(made, spec);
  const fill = fillText ?? (zero !== undefined && alignText === undefined ? "0" : " ");
  if (isText) {
    if (signText !== undefined) fail("Sign not allowed in string format specifier");
    if (coerced !== undefined) {
      fail("Negative zero coercion (z) not allowed in string format specifier");
    }
    if (hash !== undefined) fail("Alternate form (#) not allowed in string format specifier");
    if (grouping !== undefined) fail(`Cannot specify '${grouping}' with 's'.`);
    if (alignText === "=") fail("'=' alignment not allowed in string format specifier");
    if (type !== "" && type !== "s") fail(`Unknown format code '${type}' for object of type 'str'`);
    const shown = precision === undefined
      ? value
      : cut(value, 0, offsetOf(plain(value), Number(precision)));
    const pad = zero !== undefined && fillText === undefined ? "0" : fill;
    return aligned(run, shown, width, alignText ?? "<", (count) => by(pad.repeat(count)));
  }
  const style: NumberStyle = {
    type,
    sign: (signText ?? "-") as NumberStyle["sign"],
    noNegativeZero: coerced !== undefined,
    alternate: hash !== undefined,
    precision: precision === undefined ? undefined : Number(precision),
    grouping: (grouping ?? "") as NumberStyle["grouping"],
  };
  const parts = numberParts(run, number ?? asInt(value)!, value, style);
  const align = alignText ?? (zero !== undefined ? "=" : ">");
  const padding = zero !== undefined && fillText === undefined ? "0" : fill;
  if (align !== "=") {
    const pad = (count: number) => by(padding.repeat(count));
    return aligned(run, by(parts.sign + parts.digits), width, align, pad);
  }
  let digits = parts.digits;
  if (padding === "0" && style.grouping !== "") digits = zeroGrouped(parts, width, style);
  const missing = Math.max(0, width - parts.sign.length - digits.length);
  return by(parts.sign + padding.repeat(missing) + digits);
}

function numberParts(
  run: Run,
  number: number | bigint | Float,
  value: Value,
  style: NumberStyle,
): { sign: string; digits: string } {
  const { type } = style;
  if (/^[eEfFgG%]$/.test(type) || (number instanceof Float && type === "")) {
    return floatParts(run, toDouble(number), style);
  }
  if (type === "n") fail("the format code 'n' is not supported");
  if (number instanceof Float || !/^[bcdoxX]?$/.test(type)) {
    fail(`Unknown format code '${type}' for object of type '${typeName(value)}'`);
  }
  if (style.noNegativeZero) {
    fail("Negative zero coercion (z) not allowed in integer format specifier");
  }
  if (style.precision !== undefined) fail("Precision not allowed in integer format specifier");
  if (style.grouping === "," && /^[bcoxX]$/.test(type)) fail(`Cannot specify ',' with '${type}'.`);
  if (type === "c") return { sign: "", digits: String.fromCodePoint(Number(number)) };
  return intParts(run, number, style);
}

/** Zeros in front of digits in groups are in groups too. */
function zeroGrouped(
  { sign, digits }: { sign: string; digits: string },
  width: number,
  { grouping, type }: NumberStyle,
): string {
  const whole = (/^x$/i.test(type) ? /^[0-9a-f_]+/i : /^[0-9,_]+/).exec(digits)?.[0] ?? "";
  if (whole === "") return digits; // of what is no number
  const rest = digits.slice(whole.length);
  const size = /^[boxX]$/.test(type) ? 4 : 3;
  const bare = whole.replaceAll(grouping, "");
  const room = width - sign.length - rest.length;
  let count = bare.length;
  while (count + Math.floor((count - 1) / size) < room) count++;
  return grouped(bare.padStart(count, "0"), grouping, size) + rest;
}

function aligned(
  run: Run,
  value: Str,
  width: number,
  align: string,
  pad: (count: number) => Str,
): Str {
  const missing = Math.max(0, width - countPoints(plain(value)));
  const left = align === "<" ? 0 : align === "^" ? missing >> 1 : missing;
  return new Writer(run).write(pad(left)).write(value).write(pad(missing - left))
    .finish();
}

/**
 * Python's `str % values`.
 *
 * @module
 */
import { escape } from "./escape.ts";
import { floatParts, intParts, type NumberStyle } from "./number_format.ts";
import { asInt, asNumber, toDouble, toInt } from "./numbers.ts";
import { asciiOnly, repr, toText } from "./printing.ts";
import { fail, type Run } from "./run.ts";
import {
  countPoints,
  cut,
  isMarkup,
  isStr,
  madeOf,
  marked,
  offsetOf,
  plain,
  type Str,
  Writer,
} from "./text.ts";
import { Dict, Float, Range, Tuple, typeName, Undefined, type Value } from "./values.ts";

/** `%`, the key, flags, width, precision, a length that says nothing, and what to write. */
const FIELD = /%(?:\(((?:[^()]|\([^()]*\))*)\))?([-+ #0]*)(\*|\d+)?(?:\.(\*|\d*))?[hlL]?(.)?/gsu;

/** What fields take their values from. */
interface Supply {
  next(): Value;
  key(name: string): Value;
}

/** `format % values`. */
export function formatPercent(run: Run, format: Str, values: Value): Str {
  const text = plain(format);
  run.read(text);
  const isMap = !(values instanceof Tuple) && !isStr(values) &&
    (values instanceof Dict || Array.isArray(values) || values instanceof Range ||
      values instanceof Undefined);
  const list = values instanceof Tuple ? values.items : [values];
  let used = 0;
  const supply: Supply = {
    next: () => used < list.length ? list[used++]! : fail("not enough arguments for format string"),
    key: (name) => {
      if (!isMap) fail("format requires a mapping");
      used = list.length;
      if (!(values instanceof Dict)) fail("format requires a mapping");
      const value = values.get(run, name);
      return value === undefined ? fail(`KeyError: '${name}'`) : value;
    },
  };
  const writer = new Writer(run);
  let end = 0;
  for (const match of text.matchAll(FIELD)) {
    writer.write(cut(format, end, match.index));
    const text = field(run, match, supply, isMarkup(format));
    end = match.index + match[0].length;
    writer.write(text ?? cut(format, end - 1, end));
  }
  writer.write(cut(format, end, text.length));
  if (used < list.length && !isMap) fail("not all arguments converted during string formatting");
  return isMarkup(format) ? marked(writer.finish()) : writer.finish();
}

/** What a field writes; undefined for a per cent sign. */
function field(
  run: Run,
  match: RegExpMatchArray,
  supply: Supply,
  isSafe: boolean,
): Str | undefined {
  const [, key, flags = "", widthText, precisionText, type] = match;
  if (match[0] === "%%") return undefined;
  if (type === undefined) fail("incomplete format");
  const keyed = key === undefined ? undefined : supply.key(key);
  let isLeft = flags.includes("-");
  let width = size(widthText, supply) ?? 0;
  if (width < 0) {
    isLeft = true;
    width = -width;
  }
  const precision = precisionText === "" ? 0 : size(precisionText, supply);
  const value = keyed === undefined ? supply.next() : keyed;
  run.make(width);
  const style: NumberStyle = {
    type: type === "i" || type === "u" ? "d" : type,
    sign: flags.includes("+") ? "+" : flags.includes(" ") ? " " : "-",
    noNegativeZero: false,
    alternate: flags.includes("#"),
    precision: precision === undefined ? undefined : Math.max(0, precision),
    grouping: "",
  };
  if ("sra".includes(type) || type === "c") {
    const text = type === "c" ? character(value) : textField(run, type, value, isSafe);
    const shown = style.precision === undefined || type === "c"
      ? text
      : cut(text, 0, offsetOf(plain(text), style.precision));
    const fill = " ".repeat(Math.max(0, width - countPoints(plain(shown))));
    return new Writer(run).write(isLeft ? "" : fill).write(shown).write(isLeft ? fill : "")
      .finish();
  }
  const { sign, digits } = numberField(run, style, value);
  const missing = Math.max(0, width - sign.length - digits.length);
  if (isLeft) return sign + digits + " ".repeat(missing);
  const pad = flags.includes("0") ? "0" : " ";
  return pad === "0" ? sign + pad.repeat(missing) + digits : pad.repeat(missing) + sign + digits;
}

function size(text: string | undefined, supply: Supply): number | undefined {
  if (text === undefined) return undefined;
  if (text !== "*") return Number(text);
  return Number(asInt(supply.next()) ?? fail("* wants int"));
}

function textField(run: Run, type: string, value: Value, isSafe: boolean): Str {
  if (type === "s") return isSafe ? escape(run, value) : toText(run, value);
  const text = repr(run, value);
  const shown = type === "a" ? madeOf(asciiOnly(plain(text)), text) : text;
  return isSafe ? escape(run, shown) : shown;
}

function character(value: Value): Str {
  if (isStr(value)) {
    return countPoints(plain(value)) === 1 ? value : fail("%c requires int or char");
  }
  const code = Number(asInt(value) ?? fail("%c requires int or char"));
  return code >= 0 && code <= 0x10ffff
    ? String.fromCodePoint(code)
    : fail("%c arg not in range(0x110000)");
}

function numberField(
  run: Run,
  style: NumberStyle,
  value: Value,
): { sign: string; digits: string } {
  const { type } = style;
  if (value instanceof Undefined) value.fail();
  const number = asNumber(value) ??
    fail(`%${type} format: a real number is required, not ${typeName(value)}`);
  if (/^[eEfFgG]$/.test(type)) return floatParts(run, toDouble(number), style);
  if (!/^[doxX]$/.test(type)) fail(`unsupported format character '${type}'`);
  if (number instanceof Float && type !== "d") {
    fail(`%${type} format: an integer is required, not float`);
  }
  const whole = number instanceof Float ? truncate(number.value) : number;
  const parts = intParts(run, whole, style);
  const zeros = Math.max(0, (style.precision ?? 0) - parts.digits.length);
  run.make(zeros);
  return { sign: parts.sign, digits: "0".repeat(zeros) + parts.digits };
}

/** Python's `int` of a float. */
function truncate(value: number): number | bigint {
  if (!Number.isFinite(value)) fail(`cannot convert float ${value} to integer`);
  return toInt(BigInt(Math.trunc(value)));
}

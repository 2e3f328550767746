/**
 * Python's `str` and `repr` of values.
 *
 * @module
 */
import { floatText, payFor } from "./numbers.ts";
import { fail, type Run } from "./run.ts";
import { isMarkup, isStr, madeOf, plain, type Str, Writer } from "./text.ts";
import {
  Dict,
  DictView,
  Float,
  Range,
  Thing,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

/** Python's `str`. */
export function toText(run: Run, value: Value): Str {
  if (isStr(value)) return value;
  if (value instanceof Undefined) return "";
  if (typeof value === "number") return String(value);
  return repr(run, value);
}

/** Python's `repr`. */
export function repr(run: Run, value: Value): Str {
  const writer = new Writer(run);
  write(run, writer, value);
  return writer.finish();
}

function write(run: Run, writer: Writer, value: Value): void {
  if (value === null) writer.write("None");
  else if (value === true || value === false) writer.write(value ? "True" : "False");
  else if (isMarkup(value)) writer.write("Markup(").write(quoted(run, value)).write(")");
  else if (isStr(value)) writer.write(quoted(run, value));
  else if (typeof value === "number") writer.write(String(value));
  else if (typeof value === "bigint") writer.write(intText(run, value));
  else if (value instanceof Float) writer.write(floatText(value.value));
  else if (Array.isArray(value)) writeItems(run, writer, "[", value, "]");
  else if (value instanceof Tuple) {
    writeItems(run, writer, "(", value.items, value.items.length === 1 ? ",)" : ")");
  } else if (value instanceof Dict) writeDict(run, writer, value);
  else if (value instanceof DictView) writeItems(run, writer, `dict_${value.kind}([`, value, "])");
  else if (value instanceof Range) {
    const { start, stop, step } = value;
    writer.write(`range(${start}, ${stop}${step === 1 ? "" : `, ${step}`})`);
  } else if (value instanceof Undefined) writer.write("Undefined");
  else {
    const text = value instanceof Thing ? value.repr?.(run) : undefined;
    writer.write(text ?? fail(`a ${typeName(value)} does not print as text`));
  }
}

/** What an int prints as. */
export function intText(run: Run, value: number | bigint): string {
  payFor(run, value);
  const text = String(value);
  return text.length <= 4300
    ? text
    : fail("Exceeds the limit (4300 digits) for integer string conversion");
}

function writeItems(
  run: Run,
  writer: Writer,
  open: string,
  items: Iterable<Value>,
  close: string,
): void {
  writer.write(open);
  let separator = "";
  run.nested(() => {
    for (const item of items) {
      writer.write(separator);
      write(run, writer, item);
      separator = ", ";
    }
  });
  writer.write(close);
}

function writeDict(run: Run, writer: Writer, dict: Dict): void {
  writer.write("{");
  let separator = "";
  run.nested(() => {
    for (const [key, value] of dict.entries()) {
      writer.write(separator);
      write(run, writer, key);
      writer.write(": ");
      write(run, writer, value);
      separator = ", ";
    }
  });
  writer.write("}");
}

const SHORT: Readonly<Record<string, string>> = {
  "\\": "\\\\",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
};

/** A string with its quotes: single ones, unless it has those alone. */
function quoted(run: Run, value: Str): Str {
  const text = plain(value);
  run.make(text.length);
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = text.replace(/[\\'\p{C}\p{Z}]/gu, (point) => {
    if (point === " " || (point === "'" && quote === '"')) return point;
    return SHORT[point] ?? (point === "'" ? "\\'" : hexEscape(point));
  });
  const whole = `${quote}${escaped}${quote}`;
  return typeof value === "string"
    ? whole
    : new Writer(run).write(quote).write(madeOf(escaped, value)).write(quote).finish();
}

/** The characters beyond ASCII of a `repr` escaped, as Python's `ascii` has them. */
export function asciiOnly(text: string): string {
  return text.replace(/\P{ASCII}/gu, hexEscape);
}

/** `\xe9`, `\u2028`, `\U0001f600`. */
function hexEscape(point: string): string {
  const code = point.codePointAt(0)!;
  const hex = code.toString(16);
  if (code <= 0xff) return `\\x${hex.padStart(2, "0")}`;
  return code <= 0xffff ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`;
}

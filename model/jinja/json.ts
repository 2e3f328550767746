/**
 * The filter `tojson` as Transformers has it: Python's `json.dumps`.
 *
 * @module
 */
import { floatText } from "./numbers.ts";
import { compareValues } from "./operators.ts";
import { intText } from "./printing.ts";
import { fail, type Run } from "./run.ts";
import { isStr, madeOf, plain, type Str, Writer } from "./text.ts";
import { Dict, Float, Tuple, typeName, Undefined, type Value } from "./values.ts";

/** How JSON is laid out. */
export interface JsonStyle {
  readonly ensureAscii: boolean;
  /** What a level is indented by; undefined puts all on one line. */
  readonly indent: Str | undefined;
  readonly itemSeparator: Str;
  readonly keySeparator: Str;
  readonly sortKeys: boolean;
}

/** The value as JSON text, which keeps in mind which characters come from whom. */
export function toJson(run: Run, value: Value, style: JsonStyle): Str {
  const writer = new Writer(run);
  writeValue({ run, style, writer }, value, 0);
  return writer.finish();
}

interface Writing {
  readonly run: Run;
  readonly style: JsonStyle;
  readonly writer: Writer;
}

function writeValue(writing: Writing, value: Value, depth: number): void {
  const { run, writer } = writing;
  if (isStr(value)) writeString(writing, value);
  else if (Array.isArray(value) || value instanceof Tuple) {
    const items = Array.isArray(value) ? value : value.items;
    writeAll(writing, "[", items, "]", depth, (item) => writeValue(writing, item, depth + 1));
  } else if (value instanceof Dict) {
    let entries = [...value.entries()];
    if (writing.style.sortKeys) {
      // Python sorts pairs; no two keys are equal, so that values are never compared.
      entries = entries.sort(([a], [b]) => compareValues(run, "<", a, b));
    }
    writeAll(writing, "{", entries, "}", depth, ([key, item]) => {
      writeString(writing, isStr(key) ? key : keyText(run, key));
      writer.write(writing.style.keySeparator);
      writeValue(writing, item, depth + 1);
    });
  } else writer.write(scalar(run, value) ?? refuseKind(value));
}

function refuseKind(value: Value): never {
  const name = typeName(value);
  fail(
    value instanceof Undefined
      ? "Object of type Undefined is not JSON serializable"
      : `Object of type ${name} is not JSON serializable`,
  );
}

function keyText(run: Run, key: Value): string {
  return scalar(run, key) ??
    fail(`keys must be str, int, float, bool or None, not ${typeName(key)}`);
}

function scalar(run: Run, value: Value): string | undefined {
  if (value === null) return "null";
  if (typeof value === "boolean") return String(value);
  if (typeof value === "number" || typeof value === "bigint") return intText(run, value);
  if (!(value instanceof Float)) return undefined;
  const text = floatText(value.value);
  return text === "nan" ? "NaN" : text.replace("inf", "Infinity");
}

function writeAll<T>(
  { run, writer, style }: Writing,
  open: string,
  items: readonly T[],
  close: string,
  depth: number,
  writeItem: (item: T) => void,
): void {
  writer.write(open);
  if (items.length > 0) {
    const newLine = (levels: number) => {
      if (style.indent === undefined) return;
      writer.write("\n");
      for (let level = 0; level < levels; level++) writer.write(style.indent);
    };
    run.nested(() => {
      for (const [i, item] of items.entries()) {
        if (i > 0) writer.write(style.itemSeparator);
        newLine(depth + 1);
        writeItem(item);
      }
    });
    newLine(depth);
  }
  writer.write(close);
}

const SHORT: Readonly<Record<string, string>> = {
  '"': '\\"',
  "\\": "\\\\",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\b": "\\b",
  "\f": "\\f",
};

// deno-lint-ignore no-control-regex
const SPECIAL = /["\\\x00-\x1f]/g;
const NOT_PLAIN_ASCII = /[^ !#-[\]-~]/g;

function escapeUnit(unit: string): string {
  return SHORT[unit] ?? `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

function writeString({ run, writer, style }: Writing, value: Str): void {
  const text = plain(value);
  run.make(text.length);
  const special = style.ensureAscii ? NOT_PLAIN_ASCII : SPECIAL;
  writer.write('"').write(madeOf(text.replace(special, escapeUnit), value)).write('"');
}

/**
 * Python's `pprint.pformat`: values in lines of at most 80 characters, dicts sorted by their keys.
 *
 * @module
 */
import { asNumber, compareNumbers } from "./numbers.ts";
import { linesOf, SPACE } from "./characters.ts";
import { repr } from "./printing.ts";
import type { Run } from "./run.ts";
import {
  compareTexts,
  countPoints,
  cut,
  isMarkup,
  isStr,
  join,
  plain,
  type Str,
  Writer,
} from "./text.ts";
import { Dict, Tuple, typeName, type Value } from "./values.ts";

const WIDTH = 80;

/** The value in lines. */
export function prettyPrint(run: Run, value: Value): Str {
  const printer = new Printer(run);
  printer.format(value, 0, 0, 0);
  return printer.writer.finish();
}

class Printer {
  readonly writer: Writer;
  readonly #run: Run;

  constructor(run: Run) {
    this.#run = run;
    this.writer = new Writer(run);
  }

  /**
   * @param indent what the value's lines begin behind
   * @param allowance characters that have to fit in behind it
   * @param level how many containers are around it
   */
  format(value: Value, indent: number, allowance: number, level: number): void {
    const run = this.#run;
    const text = repr(run, sorted(run, value));
    run.make(countPoints(plain(text)));
    const isLong = countPoints(plain(text)) > WIDTH - indent - allowance;
    if (isLong && !isMarkup(value)) {
      if (isStr(value)) return this.#string(value, indent, allowance, level + 1);
      if (Array.isArray(value)) return this.#items("[", value, "]", indent, allowance, level + 1);
      if (value instanceof Tuple) {
        const close = value.items.length === 1 ? ",)" : ")";
        return this.#items("(", value.items, close, indent, allowance, level + 1);
      }
      if (value instanceof Dict) return this.#dict(value, indent, allowance, level + 1);
    }
    this.writer.write(text);
  }

  #items(
    open: string,
    items: readonly Value[],
    close: string,
    indent: number,
    allowance: number,
    level: number,
  ): void {
    this.writer.write(open);
    for (const [i, item] of items.entries()) {
      if (i > 0) this.#newLine(indent + 1, ",");
      const rest = i === items.length - 1 ? allowance + close.length : 1;
      this.#run.nested(() => this.format(item, indent + 1, rest, level));
    }
    this.writer.write(close);
  }

  #dict(dict: Dict, indent: number, allowance: number, level: number): void {
    this.writer.write("{");
    const entries = sortedEntries(this.#run, dict);
    for (const [i, [key, value]] of entries.entries()) {
      if (i > 0) this.#newLine(indent + 1, ",");
      const text = repr(this.#run, sorted(this.#run, key));
      this.writer.write(text).write(": ");
      const at = indent + 1 + countPoints(plain(text)) + 2;
      const rest = i === entries.length - 1 ? allowance + 1 : 1;
      this.#run.nested(() => this.format(value, at, rest, level));
    }
    this.writer.write("}");
  }

  #newLine(indent: number, before: string): void {
    this.#run.make(indent);
    this.writer.write(`${before}\n${" ".repeat(indent)}`);
  }

  /** A text as several, one a line, which Python joins. */
  #string(value: Str, at: number, behind: number, level: number): void {
    const isAlone = level === 1;
    const [indent, allowance] = isAlone ? [at + 1, behind + 1] : [at, behind];
    const chunks = this.#chunks(value, WIDTH - indent, allowance);
    if (chunks.length <= 1) {
      this.writer.write(chunks[0] ?? "''");
      return;
    }
    if (isAlone) this.writer.write("(");
    for (const [i, chunk] of chunks.entries()) {
      if (i > 0) this.#newLine(indent, "");
      this.writer.write(chunk);
    }
    if (isAlone) this.writer.write(")");
  }

  /** Lines, and those that are too long by their words. */
  #chunks(value: Str, width: number, allowance: number): Str[] {
    const run = this.#run;
    const text = plain(value);
    const shown = (part: Str) => repr(run, part);
    const fits = (part: Str, room: number) => countPoints(plain(shown(part))) <= room;
    const chunks: Str[] = [];
    for (const [start, , next] of linesOf(text)) {
      const isLastLine = next === text.length;
      const line = cut(value, start, next);
      if (fits(line, width - (isLastLine ? allowance : 0))) {
        chunks.push(shown(line));
        continue;
      }
      const words = wordsOf(line);
      let current: Str = "";
      for (const [i, word] of words.entries()) {
        const isLast = isLastLine && i === words.length - 1;
        const candidate = join(run, [current, word]);
        if (fits(candidate, width - (isLast ? allowance : 0))) current = candidate;
        else {
          if (plain(current) !== "") chunks.push(shown(current));
          current = word;
        }
      }
      if (plain(current) !== "") chunks.push(shown(current));
    }
    return chunks;
  }
}

const WORD = new RegExp(`[^${SPACE}]*[${SPACE}]*`, "g");

/** Words with the white space behind them. */
function wordsOf(line: Str): Str[] {
  return [...plain(line).matchAll(WORD)]
    .filter(([word]) => word !== "")
    .map(({ index, 0: word }) => cut(line, index, index + word.length));
}

/** The value with its dicts sorted. */
function sorted(run: Run, value: Value): Value {
  const all = (items: readonly Value[]) => {
    run.makeItems(items.length);
    return run.nested(() => items.map((item) => sorted(run, item)));
  };
  if (Array.isArray(value)) return all(value);
  if (value instanceof Tuple) return new Tuple(all(value.items));
  if (!(value instanceof Dict)) return value;
  const dict = new Dict();
  const entries = sortedEntries(run, value);
  run.nested(() => {
    for (const [key, item] of entries) dict.set(run, key, sorted(run, item));
  });
  return dict;
}

function sortedEntries(run: Run, dict: Dict): (readonly [Value, Value])[] {
  run.makeEntries(dict.size);
  return [...dict.entries()].sort(([a], [b]) => compareKeys(run, a, b));
}

/** What has no order in Python is ordered by the names of types. */
function compareKeys(run: Run, a: Value, b: Value): number {
  run.spend(1);
  const [left, right] = [asNumber(a), asNumber(b)];
  if (left !== undefined && right !== undefined) return compareNumbers(left, right);
  if (isStr(a) && isStr(b)) {
    run.read(plain(a));
    return compareTexts(plain(a), plain(b));
  }
  if (a instanceof Tuple && b instanceof Tuple) {
    for (const [i, item] of a.items.entries()) {
      const order = b.items[i] === undefined ? 1 : compareKeys(run, item, b.items[i]);
      if (order !== 0) return order;
    }
    return a.items.length - b.items.length;
  }
  return compareTexts(typeName(a), typeName(b));
}

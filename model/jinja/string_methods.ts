/**
 * The methods of Python's strings.
 *
 * @module
 */
import { type Arguments, type Binder, binder } from "./arguments.ts";
import {
  capitalize,
  CLASSES,
  isLower,
  isLowerPoint,
  isSpaceAt,
  isTitle,
  isUpper,
  isUpperPoint,
  linesOf,
  title,
} from "./characters.ts";
import { itemsOf } from "./items.ts";
import { toIndex } from "./numbers.ts";
import { fail, type Run } from "./run.ts";
import { find, findLast } from "./search.ts";
import {
  countPoints,
  cut,
  indexOf,
  isStr,
  join,
  madeOf,
  mapped,
  offsetOf,
  PIECE_SIZE,
  plain,
  type Str,
  widthAt,
  Writer,
} from "./text.ts";
import { textOf, Tuple, typeName, type Value } from "./values.ts";

/** A method: the string, and its arguments in the order of its parameters. */
type Method = (run: Run, self: Str, args: Value[]) => Value;

const METHODS = new Map<string, { readonly bind: Binder; readonly method: Method }>();

function define(name: string, parameters: string, method: Method): void {
  METHODS.set(name, { bind: binder(`str.${name}`, parameters), method });
}

/** Whether strings have a method of a name. */
export function hasStringMethod(name: string): boolean {
  return METHODS.has(name);
}

/** Calls a method that strings have. */
export function callStringMethod(run: Run, self: Str, name: string, args: Arguments): Value {
  const { bind, method } = METHODS.get(name)!;
  run.read(plain(self));
  return method(run, self, bind(args));
}

// --- Cutting off ----------------------------------------------------------------------------------

/** The string without characters at its ends, white space where none are named. */
export function strip(self: Str, chars: Value, ends: "both" | "left" | "right"): Str {
  const text = plain(self);
  const isCut = cutter(text, chars);
  let [start, end] = [0, text.length];
  if (ends !== "right") {
    while (start < end && isCut(start)) start += widthAt(text, start);
  }
  if (ends !== "left") {
    while (start < end) {
      const before = lastPoint(text, end);
      if (!isCut(before)) break;
      end = before;
    }
  }
  return cut(self, start, end);
}

function cutter(text: string, chars: Value): (at: number) => boolean {
  if (chars === null) return (at) => isSpaceAt(text, at);
  const set = new Set(textOf(chars, "strip arg"));
  return (at) => set.has(String.fromCodePoint(text.codePointAt(at)!));
}

/** The same, billed: of what is cut off a set is made. */
export function strippedOf(
  run: Run,
  self: Str,
  chars: Value,
  ends: "both" | "left" | "right",
): Str {
  run.read(plain(self));
  if (isStr(chars)) run.spend(plain(chars).length);
  return strip(self, chars, ends);
}

/** Where the code point begins that ends at an offset. */
function lastPoint(text: string, end: number): number {
  return end > 1 && text.codePointAt(end - 2)! > 0xffff ? end - 2 : end - 1;
}

define("strip", "chars=None, /", (run, self, [chars]) => strippedOf(run, self, chars!, "both"));
define("lstrip", "chars=None, /", (run, self, [chars]) => strippedOf(run, self, chars!, "left"));
define("rstrip", "chars=None, /", (run, self, [chars]) => strippedOf(run, self, chars!, "right"));

define("removeprefix", "prefix, /", (_, self, [prefix]) => {
  const [text, start] = [plain(self), textOf(prefix!, "removeprefix() argument")];
  return text.startsWith(start) ? cut(self, start.length, text.length) : self;
});
define("removesuffix", "suffix, /", (_, self, [suffix]) => {
  const [text, end] = [plain(self), textOf(suffix!, "removesuffix() argument")];
  return text.endsWith(end) ? cut(self, 0, text.length - end.length) : self;
});

// --- Splitting and joining ------------------------------------------------------------------------

/** Where a piece begins and ends. */
type Piece = [start: number, end: number];

/** Pieces of a string that is taken apart, each billed before it is there. */
class Pieces {
  readonly #run: Run;
  readonly #all: Piece[] = [];

  constructor(run: Run) {
    this.#run = run;
  }

  get length(): number {
    return this.#all.length;
  }

  push(start: number, end: number): void {
    this.#run.make(PIECE_SIZE);
    this.#all.push([start, end]);
  }

  reverse(): this {
    this.#all.reverse();
    return this;
  }

  of(self: Str): Str[] {
    return this.#all.map(([start, end]) => cut(self, start, end));
  }
}

function splitArguments(text: string, sep: Value, max: Value): [string | null, number] {
  const separator = sep === null ? null : textOf(sep, "sep");
  if (separator === "") fail("empty separator");
  const limit = toIndex(max, "maxsplit");
  return [separator, limit < 0 ? text.length + 1 : limit];
}

define("split", "sep=None, maxsplit=-1", (run, self, [sep, maxsplit]) => {
  const text = plain(self);
  const [separator, max] = splitArguments(text, sep!, maxsplit!);
  const pieces = separator === null
    ? words(run, text, max)
    : partsBetween(run, text, separator, max);
  return pieces.of(self);
});

function partsBetween(run: Run, text: string, separator: string, max: number): Pieces {
  const pieces = new Pieces(run);
  let start = 0;
  for (let left = max; left > 0; left--) {
    const end = find(run, text, separator, start);
    if (end < 0) break;
    pieces.push(start, end);
    start = end + separator.length;
  }
  pieces.push(start, text.length);
  return pieces;
}

function words(run: Run, text: string, max: number): Pieces {
  const pieces = new Pieces(run);
  let at = 0;
  while (true) {
    while (at < text.length && isSpaceAt(text, at)) at++;
    if (at === text.length) return pieces;
    if (pieces.length === max) break;
    const start = at;
    while (at < text.length && !isSpaceAt(text, at)) at++;
    pieces.push(start, at);
  }
  pieces.push(at, text.length); // what is left is left as it is
  return pieces;
}

define("rsplit", "sep=None, maxsplit=-1", (run, self, [sep, maxsplit]) => {
  const text = plain(self);
  const [separator, max] = splitArguments(text, sep!, maxsplit!);
  const pieces = separator === null
    ? lastWords(run, text, max)
    : partsBetweenFromEnd(run, text, separator, max);
  return pieces.reverse().of(self);
});

function partsBetweenFromEnd(run: Run, text: string, separator: string, max: number): Pieces {
  const pieces = new Pieces(run);
  let end = text.length;
  for (let left = max; left > 0; left--) {
    const at = findLast(run, text, separator, end);
    if (at < 0) break;
    pieces.push(at + separator.length, end);
    end = at;
  }
  pieces.push(0, end);
  return pieces;
}

function lastWords(run: Run, text: string, max: number): Pieces {
  const pieces = new Pieces(run);
  let end = text.length;
  while (true) {
    while (end > 0 && isSpaceAt(text, end - 1)) end--;
    if (end === 0) return pieces;
    if (pieces.length === max) break;
    const stop = end;
    while (end > 0 && !isSpaceAt(text, end - 1)) end--;
    pieces.push(end, stop);
  }
  pieces.push(0, end);
  return pieces;
}

/** Python's `splitlines`. */
export function splitLines(run: Run, self: Str, keepEnds = false): Str[] {
  const pieces = new Pieces(run);
  for (const [start, end, next] of linesOf(plain(self))) pieces.push(start, keepEnds ? next : end);
  return pieces.of(self);
}

define("splitlines", "keepends=False", (run, self, [keep]) => {
  return splitLines(run, self, keep !== false && toIndex(keep!, "keepends") !== 0);
});

function partition(run: Run, self: Str, sep: Value, isLast: boolean): Tuple {
  const [text, separator] = [plain(self), textOf(sep, "must be str, not")];
  if (separator === "") fail("empty separator");
  const at = (isLast ? findLast : find)(run, text, separator);
  if (at < 0) {
    return new Tuple(
      isLast ? ["", "", cut(self, 0, text.length)] : [cut(self, 0, text.length), "", ""],
    );
  }
  const end = at + separator.length;
  return new Tuple([cut(self, 0, at), cut(self, at, end), cut(self, end, text.length)]);
}

define("partition", "sep, /", (run, self, [sep]) => partition(run, self, sep!, false));
define("rpartition", "sep, /", (run, self, [sep]) => partition(run, self, sep!, true));

define("join", "iterable, /", (run, self, [iterable]) => {
  const parts: Str[] = [];
  for (const item of itemsOf(run, iterable!, "can only join an iterable")) {
    const name = typeName(item);
    run.makeItems(1);
    parts.push(
      isStr(item)
        ? item
        : fail(`sequence item ${parts.length}: expected str instance, ${name} found`),
    );
  }
  return join(run, parts, self);
});

/** Python's `str.replace`. */
export function replace(run: Run, self: Str, old: Str, by: Str, count: number): Str {
  const [text, wanted] = [plain(self), plain(old)];
  const limit = count < 0 ? text.length + 1 : count;
  run.read(text);
  const writer = new Writer(run);
  let start = 0;
  let at = limit > 0 ? find(run, text, wanted) : -1;
  for (let left = limit; left > 0 && at >= 0; left--) {
    run.spend(4);
    writer.write(cut(self, start, at)).write(by);
    start = at + wanted.length;
    if (wanted !== "") at = find(run, text, wanted, start);
    else if (at === text.length) at = -1;
    else at += widthAt(text, at);
  }
  return writer.write(cut(self, start, text.length)).finish();
}

define("replace", "old, new, count=-1, /", (run, self, [old, by, count]) => {
  textOf(old!, "replace() argument 1");
  textOf(by!, "replace() argument 2");
  return replace(run, self, old as Str, by as Str, toIndex(count!, "count"));
});

// --- Looking for ----------------------------------------------------------------------------------

/** A slice's borders as offsets; undefined where the start lies behind the end of the text. */
function range(text: string, start: Value, end: Value): Piece | undefined {
  if (start === null && end === null) return [0, text.length];
  const length = countPoints(text);
  const clamp = (value: Value, otherwise: number) => {
    if (value === null) return otherwise;
    const index = toIndex(value, "slice indices");
    return Math.min(Math.max(0, index < 0 ? index + length : index), length + 1);
  };
  const [from, to] = [clamp(start, 0), Math.min(clamp(end, length), length)];
  return from > to ? undefined : [offsetOf(text, from), offsetOf(text, to)];
}

function positionOf(run: Run, self: Str, args: Value[], isLast: boolean): number {
  const [text, wanted] = [plain(self), textOf(args[0]!, "must be str, not")];
  const borders = range(text, args[1]!, args[2]!);
  if (borders === undefined) return -1;
  const part = text.slice(...borders);
  const at = (isLast ? findLast : find)(run, part, wanted);
  return at < 0 ? -1 : indexOf(text, borders[0] + at);
}

const RANGE = "start=None, end=None, /";

define("find", `sub, ${RANGE}`, (run, self, args) => positionOf(run, self, args, false));
define("rfind", `sub, ${RANGE}`, (run, self, args) => positionOf(run, self, args, true));
define("index", `sub, ${RANGE}`, (run, self, args) => found(positionOf(run, self, args, false)));
define("rindex", `sub, ${RANGE}`, (run, self, args) => found(positionOf(run, self, args, true)));

function found(index: number): number {
  return index < 0 ? fail("substring not found") : index;
}

define("count", `sub, ${RANGE}`, (run, self, [sub, start, end]) => {
  const [text, wanted] = [plain(self), textOf(sub!, "must be str, not")];
  const borders = range(text, start!, end!);
  if (borders === undefined) return 0;
  const part = text.slice(...borders);
  if (wanted === "") return countPoints(part) + 1;
  let count = 0;
  for (let at = 0; (at = find(run, part, wanted, at)) >= 0; at += wanted.length) count++;
  return count;
});

function borders(
  name: string,
  test: (part: string, affix: string) => boolean,
): void {
  define(name, `affix, ${RANGE}`, (run, self, [affix, start, end]) => {
    const text = plain(self);
    const affixes = affix instanceof Tuple ? affix.items : [affix!];
    const refusal = `${name} first arg must be str or a tuple of str`;
    const within = range(text, start!, end!);
    return affixes.some((one) => {
      const wanted = isStr(one) ? plain(one) : fail(refusal);
      run.read(wanted);
      return within !== undefined && test(text.slice(...within), wanted);
    });
  });
}

borders("startswith", (part, affix) => part.startsWith(affix));
borders("endswith", (part, affix) => part.endsWith(affix));

// --- Case and classes -----------------------------------------------------------------------------

define("upper", "", (run, self) => mapped(run, self, (text) => text.toUpperCase()));
define("lower", "", (run, self) => mapped(run, self, (text) => text.toLowerCase()));
define("capitalize", "", (run, self) => mapped(run, self, capitalize));
for (const [name, map] of Object.entries({ title, swapcase: swapCase, casefold: caseFold })) {
  define(name, "", (run, self) => {
    run.examine(plain(self));
    return mapped(run, self, map);
  });
}

function swapCase(text: string): string {
  const lower = text.toLowerCase();
  // Where small letters are as long, they hold a final sigma's own form.
  const isAligned = lower.length === text.length;
  let [result, at] = ["", 0];
  for (const point of text) {
    if (isUpperPoint(point)) {
      result += isAligned ? lower.slice(at, at + point.length) : point.toLowerCase();
    } else result += isLowerPoint(point) ? point.toUpperCase() : point;
    at += point.length;
  }
  return result;
}

function caseFold(text: string): string {
  return Array.from(text, foldPoint).join("");
}

/** Small letters of what a letter's capital is, which makes one of several forms. */
function foldPoint(point: string): string {
  if (point === "\u0131") return point; // a small i without its dot stays one
  if (/[\u13a0-\u13fd\uab70-\uabbf]/.test(point)) return point.toUpperCase(); // Cherokee
  const capital = point.toLowerCase().toUpperCase();
  return Array.from(capital, (letter) => letter.toLowerCase()).join("");
}

for (const [name, pattern] of Object.entries(CLASSES)) {
  define(name, "", (run, self) => {
    run.examine(plain(self));
    return pattern.test(plain(self));
  });
}

for (
  const [name, holds] of Object.entries({ islower: isLower, isupper: isUpper, istitle: isTitle })
) {
  define(name, "", (run, self) => {
    run.examine(plain(self));
    return holds(plain(self));
  });
}

// --- Filling up -----------------------------------------------------------------------------------

/** Python's `str.center`: what is left over goes to the left where width is odd. */
export function center(run: Run, self: Str, width: number, fill: Str = " "): Str {
  run.read(plain(self));
  const missing = width - countPoints(plain(self));
  if (missing <= 0) return self;
  const left = (missing >> 1) + (missing & width & 1);
  return filled(run, self, left, missing - left, fill);
}

function filled(run: Run, self: Str, left: number, right: number, fill: Str): Str {
  run.make(plain(self).length + Math.max(0, left) + Math.max(0, right));
  const pad = (count: number) => madeOf(plain(fill).repeat(Math.max(0, count)), fill);
  return new Writer(run).write(pad(left)).write(self).write(pad(right)).finish();
}

/** @param side where the string is when it is filled up */
function justified(run: Run, self: Str, width: number, fill: Str, side: "left" | "right"): Str {
  const missing = width - countPoints(plain(self));
  if (missing <= 0) return self;
  return side === "left"
    ? filled(run, self, 0, missing, fill)
    : filled(run, self, missing, 0, fill);
}

function fillOf(value: Value): Str {
  return isStr(value) && countPoints(plain(value)) === 1
    ? value
    : fail("The fill character must be exactly one character long");
}

define("center", "width, fillchar=' ', /", (run, self, [width, fill]) => {
  return center(run, self, toIndex(width!, "width"), fillOf(fill!));
});
define("ljust", "width, fillchar=' ', /", (run, self, [width, fill]) => {
  return justified(run, self, toIndex(width!, "width"), fillOf(fill!), "left");
});
define("rjust", "width, fillchar=' ', /", (run, self, [width, fill]) => {
  return justified(run, self, toIndex(width!, "width"), fillOf(fill!), "right");
});
define("zfill", "width, /", (run, self, [width]) => {
  const text = plain(self);
  const missing = toIndex(width!, "width") - countPoints(text);
  if (missing <= 0) return self;
  const sign = /^[+-]/.test(text) ? 1 : 0;
  run.make(text.length + missing);
  return new Writer(run)
    .write(cut(self, 0, sign))
    .write("0".repeat(missing))
    .write(cut(self, sign, text.length))
    .finish();
});

define("expandtabs", "tabsize=8", (run, self, [tabSize]) => {
  const size = toIndex(tabSize!, "tabsize");
  const writer = new Writer(run);
  const text = plain(self);
  let [column, start] = [0, 0];
  for (const { index, 0: unit } of text.matchAll(/[\t\n\r]/g)) {
    const isTab = unit === "\t";
    writer.write(cut(self, start, isTab ? index : index + 1));
    column = isTab ? column + countPoints(text.slice(start, index)) : 0;
    start = index + 1;
    if (!isTab || size <= 0) continue;
    const width = size - column % size;
    run.make(width);
    writer.write(" ".repeat(width));
    column += width;
  }
  return writer.write(cut(self, start, text.length)).finish();
});

// --- What templates cannot have -------------------------------------------------------------------

for (const name of ["encode", "maketrans", "translate"]) {
  METHODS.set(name, {
    bind: () => fail(`str.${name}() is not supported`),
    method: () => null,
  });
}

/**
 * Going through values, and taking items out of them.
 *
 * @module
 */
import { asInt } from "./numbers.ts";
import { fail, type Run } from "./run.ts";
import {
  countPoints,
  cut,
  isMarkup,
  isStr,
  join,
  marked,
  offsetOf,
  PIECE_SIZE,
  plain,
  points,
  type Str,
  widthAt,
} from "./text.ts";
import {
  Dict,
  DictView,
  Lazy,
  Range,
  sizeOf,
  Thing,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

/** What a loop over a value goes through; undefined where Python refuses. */
export function iterableOf(run: Run, value: Value): Iterable<Value> | undefined {
  if (Array.isArray(value)) return value;
  if (isStr(value)) {
    run.read(plain(value));
    return points(value);
  }
  if (value instanceof Tuple) return value.items;
  if (value instanceof Dict) return value.keys();
  if (value instanceof DictView || value instanceof Lazy) return value;
  if (value instanceof Range) return numbersOf(value);
  if (value instanceof Undefined) return [];
  return value instanceof Thing ? value.iterate?.() : undefined;
}

function* numbersOf(range: Range): Generator<number> {
  for (let i = 0; i < range.length; i++) yield range.at(i);
}

/** Each item of a value, counted. */
export function* itemsOf(run: Run, value: Value, refusal?: string): Generator<Value> {
  const items = iterableOf(run, value) ??
    fail(refusal ?? `'${typeName(value)}' object is not iterable`);
  for (const item of items) {
    run.spend(1);
    yield item;
  }
}

/** All items of a value, as a list that is new. */
export function listOf(run: Run, value: Value, refusal?: string): Value[] {
  const list: Value[] = [];
  if (isStr(value)) run.make(PIECE_SIZE * plain(value).length);
  for (const item of itemsOf(run, value, refusal)) {
    run.makeItems(1);
    list.push(item);
  }
  return list;
}

/** Python's `len`. */
export function count(run: Run, value: Value): number {
  if (isStr(value)) {
    run.read(plain(value));
    return countPoints(plain(value));
  }
  return sizeOf(value) ?? fail(`object of type '${typeName(value)}' has no len()`);
}

/** Python's `value[key]`; undefined where it raises a TypeError, an IndexError or a KeyError. */
export function itemAt(run: Run, value: Value, key: Value): Value | undefined {
  if (value instanceof Undefined) value.fail();
  if (value instanceof Dict) return isHashable(run, key) ? value.get(run, key) : undefined;
  const number = asInt(key);
  if (number === undefined) return undefined;
  let index = Number(number);
  if (isStr(value)) return pointAt(run, value, index);
  const sequence = Array.isArray(value) ? value : value instanceof Tuple ? value.items : undefined;
  const length = sequence?.length ?? (value instanceof Range ? value.length : 0);
  if (index < 0) index += length;
  if (index < 0 || index >= length) return undefined;
  return sequence === undefined ? (value as Range).at(index) : sequence[index];
}

function isHashable(run: Run, key: Value): boolean {
  if (key instanceof Tuple) {
    run.spend(key.items.length);
    return run.nested(() => key.items.every((item) => isHashable(run, item)));
  }
  return !Array.isArray(key) && !(key instanceof Dict) && !(key instanceof DictView);
}

function pointAt(run: Run, value: Str, index: number): Str | undefined {
  const text = plain(value);
  run.read(text);
  const at = index < 0 ? index + countPoints(text) : index;
  if (at < 0) return undefined;
  const start = offsetOf(text, at);
  if (start >= text.length) return undefined;
  return like(value, cut(value, start, start + widthAt(text, start)));
}

/** Markup where the value is that it was taken out of. */
function like(value: Str, part: Str): Str {
  return isMarkup(value) ? marked(part) : part;
}

/** A slice's three parts; null where none is given. */
export interface SliceParts {
  readonly start: Value;
  readonly stop: Value;
  readonly step: Value;
}

/** Python's `value[start:stop:step]`. */
export function sliceOf(run: Run, value: Value, parts: SliceParts): Value {
  if (value instanceof Undefined) value.fail();
  if (isStr(value)) return sliceText(run, value, parts);
  if (value instanceof Range) return sliceRange(value, parts);
  const items = Array.isArray(value)
    ? value
    : value instanceof Tuple
    ? value.items
    : fail(`'${typeName(value)}' object is not subscriptable by a slice`);
  const { start, step, length } = resolve(parts, items.length);
  run.makeItems(length);
  const taken = step === 1
    ? items.slice(start, start + length)
    : Array.from({ length }, (_, i) => items[start + i * step]!);
  return Array.isArray(value) ? taken : new Tuple(taken);
}

/** Python's `slice.indices`, and how many there are. */
function resolve(
  { start, stop, step }: SliceParts,
  length: number,
): { start: number; end: number; step: number; length: number } {
  const by = sliceIndex(step) ?? 1;
  if (by === 0) fail("slice step cannot be zero");
  const [lowest, highest] = by > 0 ? [0, length] : [-1, length - 1];
  const clamp = (index: number | undefined, otherwise: number) => {
    if (index === undefined) return otherwise;
    return Math.min(Math.max(index < 0 ? index + length : index, lowest), highest);
  };
  const first = clamp(sliceIndex(start), by > 0 ? lowest : highest);
  const end = clamp(sliceIndex(stop), by > 0 ? highest : lowest);
  return { start: first, end, step: by, length: Math.max(0, Math.ceil((end - first) / by)) };
}

function sliceIndex(value: Value): number | undefined {
  if (value === null) return undefined;
  const index = asInt(value) ??
    fail("slice indices must be integers or None or have an __index__ method");
  return Number(index);
}

function sliceText(run: Run, value: Str, parts: SliceParts): Str {
  const text = plain(value);
  run.read(text);
  const { start, step, length } = resolve(parts, countPoints(text));
  if (step === 1) {
    const from = offsetOf(text, start);
    return like(value, cut(value, from, from + offsetOf(text.slice(from), length)));
  }
  run.make(PIECE_SIZE * text.length);
  const all = [...points(value)];
  return like(value, join(run, Array.from({ length }, (_, i) => all[start + i * step]!)));
}

function sliceRange(range: Range, parts: SliceParts): Range {
  const { start, end, step } = resolve(parts, range.length);
  return new Range(
    range.start + start * range.step,
    range.start + end * range.step,
    range.step * step,
  );
}

/**
 * Python's operators over a template's values.
 *
 * @module
 */
import { formatPercent } from "./percent.ts";
import { asInt, asNumber, calculate, compareNumbers, payFor, toInt } from "./numbers.ts";
import { escape } from "./escape.ts";
import { fail, type Run } from "./run.ts";
import { find } from "./search.ts";
import { compareTexts, isMarkup, isStr, join, marked, plain, type Str } from "./text.ts";
import { itemsOf } from "./items.ts";
import { Dict, DictView, Float, Range, Tuple, typeName, Undefined, type Value } from "./values.ts";

/** Operators with two operands that are always evaluated. */
export type BinaryOperator = "+" | "-" | "*" | "/" | "//" | "%" | "**";

/** Operators of comparisons. */
export type Comparison = "==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not in";

/** Python's arithmetic, and what it does to strings and lists. */
export function binary(run: Run, operator: BinaryOperator, a: Value, b: Value): Value {
  run.spend(1);
  if (operator === "+" && typeof a === "string" && typeof b === "string") {
    run.make(Math.min(a.length, b.length)); // the longer one is not copied
    return a + b;
  }
  if (a instanceof Undefined) a.fail();
  if (operator === "%" && isStr(a)) return formatPercent(run, a, b);
  if (b instanceof Undefined) b.fail();
  const [left, right] = [asNumber(a), asNumber(b)];
  if (left !== undefined && right !== undefined) {
    if (typeof left !== "number" || typeof right !== "number") payFor(run, left, right);
    // A power is the one that makes a long int of short ones.
    if (operator === "**") run.spend(100);
    return calculate(operator, left, right);
  }
  if (operator === "+") {
    if (isStr(a) && isStr(b)) return addTexts(run, a, b);
    if (Array.isArray(a) && Array.isArray(b)) return concat(run, a, b);
    if (a instanceof Tuple && b instanceof Tuple) return new Tuple(concat(run, a.items, b.items));
  }
  if (operator === "*") {
    const product = repeat(run, a, b) ?? repeat(run, b, a);
    if (product !== undefined) return product;
  }
  fail(
    `unsupported operand type(s) for ${operator}: '${typeName(a)}' and '${typeName(b)}'`,
  );
}

function addTexts(run: Run, a: Str, b: Str): Str {
  if (!isMarkup(a) && !isMarkup(b)) return join(run, [a, b]);
  return marked(join(run, [escape(run, a), escape(run, b)]));
}

function concat(run: Run, a: readonly Value[], b: readonly Value[]): Value[] {
  run.makeItems(a.length + b.length);
  return [...a, ...b];
}

/** A sequence times an int; undefined where it is no such product. */
function repeat(run: Run, sequence: Value, times: Value): Value | undefined {
  const count = Math.max(0, Number(asInt(times) ?? NaN));
  if (Number.isNaN(count)) return undefined;
  if (isStr(sequence)) {
    run.make(plain(sequence).length * count);
    if (typeof sequence === "string") return sequence.repeat(count);
    const text = join(run, Array<Str>(plain(sequence) === "" ? 0 : count).fill(sequence));
    return sequence.isMarkup ? marked(text) : text;
  }
  const items = Array.isArray(sequence)
    ? sequence
    : sequence instanceof Tuple
    ? sequence.items
    : undefined;
  if (items === undefined) return undefined;
  run.makeItems(items.length * count);
  const repeated = items.length === 0 ? [] : Array.from({ length: count }, () => items).flat();
  return Array.isArray(sequence) ? repeated : new Tuple(repeated);
}

/** `-x` and `+x`. */
export function unary(operator: "-" | "+", value: Value): Value {
  if (value instanceof Undefined) value.fail();
  const number = asNumber(value) ??
    fail(`bad operand type for unary ${operator}: '${typeName(value)}'`);
  if (operator === "+") return number;
  if (number instanceof Float) return new Float(-number.value);
  return typeof number === "bigint" ? toInt(-number) : 0 - number;
}

/** Python's comparisons. */
export function compare(run: Run, operator: Comparison, a: Value, b: Value): boolean {
  run.spend(1);
  switch (operator) {
    case "==":
      return equals(run, a, b);
    case "!=":
      return !equals(run, a, b);
    case "in":
      return contains(run, b, a);
    case "not in":
      return !contains(run, b, a);
    default:
      return holds(operator, compareValues(run, operator, a, b));
  }
}

function holds(operator: "<" | "<=" | ">" | ">=", order: number): boolean {
  switch (operator) {
    case "<":
      return order < 0;
    case "<=":
      return order <= 0;
    case ">":
      return order > 0;
    default:
      return order >= 0;
  }
}

/** Python's `==`: values of unlike kinds are unlike, but for numbers. */
export function equals(run: Run, a: Value, b: Value): boolean {
  if (isStr(a)) {
    if (!isStr(b)) return false;
    const [left, right] = [plain(a), plain(b)];
    if (left.length === right.length) run.read(left);
    return left === right;
  }
  const [left, right] = [asNumber(a), asNumber(b)];
  if (left !== undefined || right !== undefined) {
    return left !== undefined && right !== undefined && compareNumbers(left, right) === 0;
  }
  if (a === b) return true;
  if (Array.isArray(a)) return Array.isArray(b) && equalItems(run, a, b);
  if (a instanceof Tuple) return b instanceof Tuple && equalItems(run, a.items, b.items);
  if (a instanceof Dict) return b instanceof Dict && equalDicts(run, a, b);
  if (a instanceof Range) return b instanceof Range && equalRanges(a, b);
  if (a instanceof DictView) return b instanceof DictView && equalViews(run, a, b);
  return a instanceof Undefined && b instanceof Undefined;
}

function equalItems(run: Run, a: readonly Value[], b: readonly Value[]): boolean {
  if (a.length !== b.length) return false;
  return run.nested(() =>
    a.every((item, i) => {
      run.spend(1);
      return isSame(item, b[i]!) || equals(run, item, b[i]!);
    })
  );
}

/** Containers ask for identity first: a float that is not a number is in its own list. */
function isSame(a: Value, b: Value): boolean {
  return a === b && typeof a === "object";
}

function equalDicts(run: Run, a: Dict, b: Dict): boolean {
  if (a.size !== b.size) return false;
  return run.nested(() => {
    for (const [key, value] of a.entries()) {
      run.spend(1);
      const other = b.get(run, key);
      if (other === undefined) return false;
      if (!isSame(value, other) && !equals(run, value, other)) return false;
    }
    return true;
  });
}

function equalRanges(a: Range, b: Range): boolean {
  if (a.length !== b.length) return false;
  return a.length === 0 ||
    (a.start === b.start && (a.length === 1 || a.step === b.step));
}

/** As sets: keys may equal pairs, and values are no set. */
function equalViews(run: Run, a: DictView, b: DictView): boolean {
  if (a.kind === "values" || b.kind === "values" || a.dict.size !== b.dict.size) return false;
  for (const item of a) {
    run.spend(1);
    if (!contains(run, b, item)) return false;
  }
  return true;
}

/** Which of two values comes first: negative, 0 or positive; NaN where no order holds. */
export function compareValues(
  run: Run,
  operator: "<" | "<=" | ">" | ">=",
  a: Value,
  b: Value,
): number {
  if (a instanceof Undefined) a.fail();
  if (b instanceof Undefined) b.fail();
  if (isStr(a) && isStr(b)) {
    const [left, right] = [plain(a), plain(b)];
    run.read(left.length < right.length ? left : right);
    return compareTexts(left, right);
  }
  const [left, right] = [asNumber(a), asNumber(b)];
  if (left !== undefined && right !== undefined) return compareNumbers(left, right);
  if (Array.isArray(a) && Array.isArray(b)) return compareItems(run, operator, a, b);
  if (a instanceof Tuple && b instanceof Tuple) {
    return compareItems(run, operator, a.items, b.items);
  }
  fail(
    `'${operator}' not supported between instances of '${typeName(a)}' and '${typeName(b)}'`,
  );
}

/** By the first items that are unlike, else by length. */
function compareItems(
  run: Run,
  operator: "<" | "<=" | ">" | ">=",
  a: readonly Value[],
  b: readonly Value[],
): number {
  return run.nested(() => {
    for (let i = 0; i < Math.min(a.length, b.length); i++) {
      run.spend(1);
      if (!isSame(a[i]!, b[i]!) && !equals(run, a[i]!, b[i]!)) {
        return compareValues(run, operator, a[i]!, b[i]!);
      }
    }
    return a.length - b.length;
  });
}

/** Python's `in`. */
function contains(run: Run, container: Value, item: Value): boolean {
  if (isStr(container)) {
    if (!isStr(item)) {
      fail(`'in <string>' requires string as left operand, not ${typeName(item)}`);
    }
    return find(run, plain(container), plain(item)) >= 0;
  }
  if (container instanceof Dict) return container.get(run, item) !== undefined;
  if (container instanceof DictView) {
    if (container.kind === "keys") return container.dict.get(run, item) !== undefined;
    if (container.kind === "items") {
      if (!(item instanceof Tuple) || item.items.length !== 2) return false;
      const [key, wanted] = item.items as [Value, Value];
      const value = container.dict.get(run, key);
      return value !== undefined && (isSame(value, wanted) || equals(run, value, wanted));
    }
  }
  if (container instanceof Range && asInt(item) !== undefined) {
    const number = Number(asInt(item));
    const index = (number - container.start) / container.step;
    return Number.isInteger(index) && index >= 0 && index < container.length;
  }
  for (
    const other of itemsOf(
      run,
      container,
      `argument of type '${typeName(container)}' is not iterable`,
    )
  ) {
    if (isSame(item, other) || equals(run, item, other)) return true;
  }
  return false;
}

/** Sorted as Python's `sorted` does, by keys; equal ones stay in their order. */
export function sortBy<T>(
  run: Run,
  items: readonly T[],
  keyFor: (item: T) => Value,
  reverse: boolean,
): T[] {
  run.makeEntries(items.length);
  const keyed = items.map((item) => ({ item, key: keyFor(item) }));
  const order = reverse ? -1 : 1;
  return keyed
    .sort((a, b) => {
      run.spend(1);
      // Sorting asks "is this less than that" alone.
      const compared = compareValues(run, "<", a.key, b.key);
      return Number.isNaN(compared) ? 0 : compared * order;
    })
    .map(({ item }) => item);
}

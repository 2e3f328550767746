/**
 * Filters over items, and over values of any kind.
 *
 * @module
 */
import { attributeGetter, attributesGetter, lowered } from "./attribute_path.ts";
import type { Arguments } from "./arguments.ts";
import { attributeOf } from "./attributes.ts";
import { count, itemAt, itemsOf, listOf } from "./items.ts";
import { asNumber, toIndex } from "./numbers.ts";
import { binary, compareValues, equals, sortBy } from "./operators.ts";
import { fail, type Filter, type Run } from "./run.ts";
import { isStr, join, plain, type Str } from "./text.ts";
import { filter } from "./filter.ts";
import {
  Dict,
  DictView,
  isTrue,
  keyOf,
  Lazy,
  Range,
  textOf,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

/** A generator, which does nothing before it is gone through. */
function lazily(generate: () => Iterable<Value>): Lazy {
  return new Lazy((function* () {
    yield* generate();
  })());
}

function emptyOf(what: string): Undefined {
  return new Undefined(() => `No ${what} item, sequence was empty.`);
}

/** Items from the last to the first; undefined for what Python cannot turn round. */
function reversed(run: Run, value: Value): Value[] | undefined {
  const isReversible = Array.isArray(value) || isStr(value) || value instanceof Tuple ||
    value instanceof Dict || value instanceof DictView || value instanceof Range ||
    value instanceof Undefined;
  return isReversible ? listOf(run, value).reverse() : undefined;
}

function reverse(run: Run, value: Value): Value {
  if (isStr(value)) return join(run, listOf(run, value).reverse() as Str[]);
  const items = reversed(run, value);
  return items === undefined ? listOf(run, value).reverse() : new Lazy(items, "reversed");
}

function last(run: Run, value: Value): Value {
  const items = reversed(run, value) ?? fail(`'${typeName(value)}' object is not reversible`);
  return items.length === 0 ? emptyOf("last") : items[0]!;
}

function first(run: Run, value: Value): Value {
  for (const item of itemsOf(run, value)) return item;
  return emptyOf("first");
}

function extreme(sign: 1 | -1): Filter {
  return filter("min", "case_sensitive=False, attribute=None", (run, value, args) => {
    const get = attributeGetter(run, args[1]!, { ignoreCase: !isTrue(args[0]!) });
    let best: { item: Value; key: Value } | undefined;
    for (const item of itemsOf(run, value)) {
      const key = get(item);
      if (best === undefined) best = { item, key };
      else {
        const order = compareValues(run, sign > 0 ? ">" : "<", key, best.key);
        if (order * sign > 0) best = { item, key };
      }
    }
    return best === undefined ? emptyOf("aggregated") : best.item;
  });
}

function* unique(run: Run, value: Value, [caseSensitive, attribute]: Value[]): Generator<Value> {
  const get = attributeGetter(run, attribute!, { ignoreCase: !isTrue(caseSensitive!) });
  const seen = new Set<unknown>();
  for (const item of itemsOf(run, value)) {
    const key = keyOf(run, get(item));
    if (seen.has(key)) continue;
    run.makeEntries(1);
    seen.add(key);
    yield item;
  }
}

function dictSort(run: Run, value: Value, args: Value[]): Value {
  const [caseSensitive, by, reverse] = args as [Value, Value, Value];
  const position = isStr(by) ? ["key", "value"].indexOf(plain(by)) : -1;
  if (position < 0) fail('You can only sort by either "key" or "value"');
  if (value instanceof Undefined) value.fail();
  if (!(value instanceof Dict)) fail(`'${typeName(value)}' object has no attribute 'items'`);
  run.makeEntries(value.size);
  const pairs = [...value.entries()].map((pair) => new Tuple(pair));
  const keyFor = ({ items }: Tuple) => {
    const key = items[position]!;
    return isTrue(caseSensitive) ? key : lowered(run, key);
  };
  return sortBy(run, pairs, keyFor, toIndex(reverse, "reverse") !== 0);
}

function sort(run: Run, value: Value, args: Value[]): Value {
  const [reverse, caseSensitive, attribute] = args as [Value, Value, Value];
  const get = attributesGetter(run, attribute, !isTrue(caseSensitive));
  return sortBy(run, listOf(run, value), get, toIndex(reverse, "reverse") !== 0);
}

function groupBy(run: Run, value: Value, args: Value[]): Value {
  const [attribute, otherwise, caseSensitive] = args as [Value, Value, Value];
  const ignoreCase = !isTrue(caseSensitive);
  const get = attributeGetter(run, attribute, { ignoreCase, otherwise });
  const shown = attributeGetter(run, attribute, { otherwise });
  const groups: { key: Value; items: Value[] }[] = [];
  for (const item of sortBy(run, listOf(run, value), get, false)) {
    const key = get(item);
    const group = groups.at(-1);
    if (group !== undefined && equals(run, group.key, key)) group.items.push(item);
    else groups.push({ key, items: [item] });
  }
  return groups.map(({ key, items }) =>
    new Tuple([ignoreCase ? shown(items[0]!) : key, items], ["grouper", "list"])
  );
}

function sum(run: Run, value: Value, [attribute, start]: Value[]): Value {
  if (isStr(start!)) fail("sum() can't sum strings [use ''.join(seq) instead]");
  const get = attributeGetter(run, attribute!);
  let total: Value = start!;
  for (const item of itemsOf(run, value)) total = binary(run, "+", total, get(item));
  return total;
}

function* slices(run: Run, value: Value, [number, fillWith]: Value[]): Generator<Value> {
  const items = listOf(run, value);
  const total = toIndex(number!, "slices");
  if (total === 0) fail("integer division or modulo by zero");
  const [size, extra] = [Math.floor(items.length / total), items.length % total];
  let offset = 0;
  for (let i = 0; i < total; i++) {
    run.makeItems(1);
    const start = offset + i * size;
    if (i < extra) offset++;
    const slice = items.slice(start, offset + (i + 1) * size);
    if (fillWith !== null && i >= extra) slice.push(fillWith!);
    yield slice;
  }
}

function* batches(run: Run, value: Value, [lineCount, fillWith]: Value[]): Generator<Value> {
  let batch: Value[] = [];
  const isFull = () => {
    const number = asNumber(lineCount!);
    return number !== undefined && equals(run, batch.length, number);
  };
  for (const item of itemsOf(run, value)) {
    if (isFull()) {
      yield batch;
      batch = [];
    }
    run.makeItems(1);
    batch.push(item);
  }
  if (batch.length === 0) return;
  if (fillWith !== null) {
    const missing = Math.max(0, toIndex(lineCount!, "linecount") - batch.length);
    run.makeItems(missing);
    batch.push(...Array<Value>(missing).fill(fillWith!));
  }
  yield batch;
}

// --- By the name of a filter or a test ------------------------------------------------------------

function mapper(run: Run, { positional, named }: Arguments): (item: Value) => Value {
  if (positional.length === 0 && named.has("attribute")) {
    const unknown = [...named.keys()].find((name) => name !== "attribute" && name !== "default");
    if (unknown !== undefined) fail(`Unexpected keyword argument '${unknown}'`);
    return attributeGetter(run, named.get("attribute")!, {
      otherwise: named.get("default") ?? null,
    });
  }
  const [name, ...rest] = positional;
  if (name === undefined) fail("map requires a filter argument");
  const args = { positional: rest, named };
  return (item) => {
    const apply = run.builtins.filters.get(textOf(name, "a filter's name")) ??
      fail(`No filter named '${plain(name as string)}'.`);
    return apply(run, item, args);
  };
}

function* map(run: Run, value: Value, args: Arguments): Generator<Value> {
  if (!isTrue(value)) return;
  const apply = mapper(run, args);
  for (const item of itemsOf(run, value)) yield apply(item);
}

function chooser(run: Run, { positional, named }: Arguments): (item: Value) => boolean {
  const [name, ...rest] = positional;
  if (name === undefined) return isTrue;
  const args = { positional: rest, named };
  return (item) => {
    const test = run.builtins.tests.get(textOf(name, "a test's name")) ??
      fail(`No test named '${plain(name as string)}'.`);
    return test(run, item, args);
  };
}

/** `select` and its like. */
function choosing(wanted: boolean, byAttribute: boolean): Filter {
  return (run, value, args) =>
    lazily(function* () {
      if (!isTrue(value)) return;
      const { positional, named } = args;
      if (byAttribute && positional.length === 0) fail("Missing parameter for attribute name");
      const get = byAttribute ? attributeGetter(run, positional[0]!) : (item: Value) => item;
      const choose = chooser(run, { positional: positional.slice(byAttribute ? 1 : 0), named });
      for (const item of itemsOf(run, value)) if (choose(get(item)) === wanted) yield item;
    });
}

function withDefault(_: Run, value: Value, [otherwise, boolean]: Value[]): Value {
  return value instanceof Undefined || (isTrue(boolean!) && !isTrue(value)) ? otherwise! : value;
}

const DEFAULT = filter("default", "default_value='', boolean=False", withDefault);
const LENGTH = filter("length", "", (run, value) => count(run, value));

/** By name. */
export const SEQUENCE_FILTERS: Readonly<Record<string, Filter>> = {
  attr: filter("attr", "name", (run, value, [name]) => {
    const attribute = textOf(name!, "attribute name");
    const found = attributeOf(run, value, attribute);
    return found === undefined
      ? new Undefined(() => `'${typeName(value)} object' has no attribute '${attribute}'`)
      : found;
  }),
  batch: filter("batch", "linecount, fill_with=None", (run, value, args) => {
    return lazily(() => batches(run, value, args));
  }),
  count: LENGTH,
  d: DEFAULT,
  default: DEFAULT,
  dictsort: filter("dictsort", "case_sensitive=False, by='key', reverse=False", dictSort),
  first: filter("first", "", first),
  groupby: filter("groupby", "attribute, default=None, case_sensitive=False", groupBy),
  items: filter("items", "", (_, value) =>
    lazily(() => {
      if (value instanceof Undefined) return [];
      if (!(value instanceof Dict)) fail("Can only get item pairs from a mapping.");
      return new DictView(value, "items");
    })),
  last: filter("last", "", last),
  length: LENGTH,
  list: filter("list", "", (run, value) => listOf(run, value)),
  map: (run, value, args) => lazily(() => map(run, value, args)),
  max: extreme(1),
  min: extreme(-1),
  random: filter("random", "", (run, value) => {
    const size = count(run, value);
    if (size === 0) return emptyOf("random");
    const item = value instanceof Dict
      ? undefined
      : itemAt(run, value, Math.floor(Math.random() * size));
    return item ?? fail("the filter random takes a sequence");
  }),
  reject: choosing(false, false),
  rejectattr: choosing(false, true),
  reverse: filter("reverse", "", reverse),
  select: choosing(true, false),
  selectattr: choosing(true, true),
  slice: filter("slice", "slices, fill_with=None", (run, value, args) => {
    return lazily(() => slices(run, value, args));
  }),
  sort: filter("sort", "reverse=False, case_sensitive=False, attribute=None", sort),
  sum: filter("sum", "attribute=None, start=0", sum),
  unique: filter("unique", "case_sensitive=False, attribute=None", (run, value, args) => {
    return lazily(() => unique(run, value, args));
  }),
};

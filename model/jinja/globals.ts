/**
 * Functions that every template has: jinja2's, and those of Transformers.
 *
 * @module
 */
import { type Arguments, binder, entriesOf } from "./arguments.ts";
import { itemsOf, listOf } from "./items.ts";
import { toIndex } from "./numbers.ts";
import { repr, toText } from "./printing.ts";
import { fail, type Run } from "./run.ts";
import { strftime } from "./strftime.ts";
import { isStr, join, madeOf, plain, type Str } from "./text.ts";
import {
  Callable,
  Dict,
  Range,
  textOf,
  Thing,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

/** As many numbers as the sandbox lets a range have. */
const MAX_RANGE = 100_000;

/** What `namespace()` makes: the one thing whose attributes a template sets. */
export class Namespace extends Thing {
  readonly typeName = "Namespace";
  readonly #attributes: Dict;

  /** With what it begins. */
  constructor(attributes: Dict) {
    super();
    this.#attributes = attributes;
    for (const key of attributes.keys()) checkName(key);
  }

  override attribute(run: Run, name: string): Value | undefined {
    return this.#attributes.get(run, name);
  }

  /** `{% set namespace.name = value %}` */
  set(run: Run, name: string, value: Value): void {
    checkName(name);
    this.#attributes.set(run, name, value);
  }

  override repr(run: Run): Str {
    return join(run, ["<Namespace ", repr(run, this.#attributes), ">"]);
  }
}

function checkName(name: Value): void {
  if (isStr(name) && plain(name).startsWith("_")) {
    fail(`a namespace's names must not begin with an underscore: one is '${plain(name)}'`);
  }
}

const NEXT = binder("next", "");
const RESET = binder("reset", "");
const JOIN = binder("joiner", "");

/** Goes round its items. */
class Cycler extends Thing {
  readonly typeName = "Cycler";
  readonly #items: readonly Value[];
  #position = 0;

  constructor(items: readonly Value[]) {
    super();
    if (items.length === 0) fail("at least one item has to be provided");
    this.#items = items;
  }

  override attribute(_: Run, name: string): Value | undefined {
    switch (name) {
      case "current":
        return this.#items[this.#position];
      case "items":
        return new Tuple(this.#items);
      case "pos":
        return this.#position;
      case "next":
        return new Callable(name, (_, args) => {
          NEXT(args);
          return this.#next();
        });
      case "reset":
        return new Callable(name, (_, args) => {
          RESET(args);
          this.#position = 0;
          return null;
        });
      default:
        return undefined;
    }
  }

  #next(): Value {
    const item = this.#items[this.#position]!;
    this.#position = (this.#position + 1) % this.#items.length;
    return item;
  }
}

/** Nothing at the first call, its text from then on. */
class Joiner extends Thing {
  readonly typeName = "Joiner";
  readonly #separator: Value;
  #isUsed = false;

  constructor(separator: Value) {
    super();
    this.#separator = separator;
  }

  override call(_: Run, args: Arguments): Value {
    JOIN(args);
    if (this.#isUsed) return this.#separator;
    this.#isUsed = true;
    return "";
  }

  override attribute(_: Run, name: string): Value | undefined {
    return name === "sep" ? this.#separator : name === "used" ? this.#isUsed : undefined;
  }
}

/** Python's `dict(…)`. */
function makeDict(run: Run, { positional, named, names }: Arguments): Dict {
  if (positional.length > 1) {
    fail(`dict expected at most 1 argument, got ${positional.length}`);
  }
  const [source] = positional;
  if (source instanceof Undefined) source.fail();
  const isCopied = source instanceof Dict;
  run.makeEntries(named.size + (isCopied ? source.size : 0));
  const dict = isCopied ? source.copy() : new Dict();
  if (!isCopied && source !== undefined) {
    for (const item of itemsOf(run, source)) {
      const pair = listOf(run, item);
      if (pair.length !== 2) {
        fail(`dictionary update sequence element has length ${pair.length}; 2 is required`);
      }
      run.makeEntries(1);
      dict.set(run, pair[0]!, pair[1]!);
    }
  }
  for (const [key, value] of entriesOf(named, names)) dict.set(run, key, value);
  return dict;
}

const DICT_FROM_KEYS = binder("fromkeys", "iterable, value=None, /");

/** Transformers' own `dict`, which has no more than this. */
class DictMaker extends Thing {
  readonly typeName = "TemplateDict";

  override call(run: Run, args: Arguments): Value {
    return makeDict(run, args);
  }

  override attribute(_: Run, name: string): Value | undefined {
    if (name !== "fromkeys") return undefined;
    return new Callable(name, (run, args) => {
      const [keys, value] = DICT_FROM_KEYS(args);
      const dict = new Dict();
      for (const key of itemsOf(run, keys!)) {
        run.makeEntries(1);
        dict.set(run, key, value!);
      }
      return dict;
    });
  }
}

function makeRange({ positional, named }: Arguments): Range {
  if (named.size > 0) fail("range() takes no keyword arguments");
  if (positional.length < 1 || positional.length > 3) {
    fail(`range expected 1 to 3 arguments, got ${positional.length}`);
  }
  const numbers = positional.map((value) => {
    const index = toIndex(
      value,
      `a range's borders must be integers, not ${typeName(value)}: each`,
    );
    return Number.isSafeInteger(index) ? index : fail("a range's borders must be safe integers");
  });
  const [start, stop, step] = numbers.length === 1
    ? [0, numbers[0]!, 1]
    : [numbers[0]!, numbers[1]!, numbers[2] ?? 1];
  if (step === 0) fail("range() arg 3 must not be zero");
  const range = new Range(start, stop, step);
  if (range.length > MAX_RANGE) {
    fail(`Range too big. The sandbox blocks ranges larger than MAX_RANGE (${MAX_RANGE}).`);
  }
  return range;
}

function define(
  name: string,
  call: (run: Run, args: Arguments) => Value,
): readonly [string, Value] {
  return [name, new Callable(name, call)];
}

const ONE_MESSAGE = binder("raise_exception", "message");
const ONE_FORMAT = binder("strftime_now", "format");
const SEPARATOR = binder("joiner", "sep=', '");

/** By name. */
export const GLOBALS: ReadonlyMap<string, Value> = new Map([
  define("range", (_, args) => makeRange(args)),
  ["dict", new DictMaker()] as const,
  define("namespace", (run, args) => new Namespace(makeDict(run, args))),
  define("cycler", (_, { positional, named }) => {
    return named.size > 0 ? fail("cycler() takes no keyword arguments") : new Cycler(positional);
  }),
  define("joiner", (_, args) => new Joiner(SEPARATOR(args)[0]!)),
  define("lipsum", () => fail("the function lipsum is not supported")),
  define("raise_exception", (run, args) => {
    return fail(plain(toText(run, ONE_MESSAGE(args)[0]!)));
  }),
  define("strftime_now", (run, args) => {
    const [format] = ONE_FORMAT(args) as [Value];
    const text = strftime(run, textOf(format, "strftime() argument 1"), run.now);
    return madeOf(text, format as Str);
  }),
]);

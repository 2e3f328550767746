/**
 * What a template computes with: Python's values, as JavaScript has them.
 *
 * | Python                | here                                                    |
 * | --------------------- | ------------------------------------------------------- |
 * | None, bool            | null, boolean                                           |
 * | int                   | number (a safe integer), bigint beyond                  |
 * | float                 | {@linkcode Float}                                       |
 * | str, Markup           | string, {@linkcode Text} where parts come from outside  |
 * | list, tuple           | array, {@linkcode Tuple}                                |
 * | dict and its views    | {@linkcode Dict}, {@linkcode DictView}                  |
 * | range                 | {@linkcode Range}                                       |
 * | generators, iterators | {@linkcode Lazy}                                        |
 * | jinja2's Undefined    | {@linkcode Undefined}                                   |
 * | all else              | {@linkcode Thing}                                       |
 *
 * @module
 */
import type { Arguments } from "./arguments.ts";
import { fail, type Run, TemplateError } from "./run.ts";
import { from, isStr, plain, type Str, Text, type TextOrigin } from "./text.ts";

/** Any value of a template. */
export type Value =
  | null
  | boolean
  | number
  | bigint
  | Float
  | Str
  | Value[]
  | Tuple
  | Dict
  | DictView
  | Range
  | Lazy
  | Undefined
  | Thing;

/** Python's float, told from an int of the same value. */
export class Float {
  /** @param value the number */
  constructor(readonly value: number) {}
}

/** Python's tuple. */
export class Tuple {
  /** @param names of its fields: of jinja2's groups */
  constructor(readonly items: readonly Value[], readonly names: readonly string[] = []) {}
}

/** Python's range; its steps are never 0. */
export class Range {
  /** How many numbers there are. */
  readonly length: number;

  /** From `start`, by `step`, to before `stop`. */
  constructor(readonly start: number, readonly stop: number, readonly step: number) {
    this.length = Math.max(0, Math.ceil((stop - start) / step));
  }

  /** The number at an index that is in range. */
  at(index: number): number {
    return this.start + index * this.step;
  }
}

/** A generator: gone through once, made as it is asked. */
export class Lazy implements Iterable<Value> {
  readonly #iterator: Iterator<Value>;

  /** @param kind what Python calls its type */
  constructor(values: Iterable<Value>, readonly kind: string = "generator") {
    this.#iterator = values[Symbol.iterator]();
  }

  /** What is left of it. */
  [Symbol.iterator](): Iterator<Value> {
    return { next: () => this.#iterator.next() };
  }
}

/** jinja2's value for what is not there: it prints as nothing, and most else refuses. */
export class Undefined {
  readonly #message: () => string;

  /** @param message says what is not there; made when it is asked for */
  constructor(message: () => string) {
    this.#message = message;
  }

  /** Of a name that nobody set. */
  static named(name: string): Undefined {
    return new Undefined(() => `'${name}' is undefined`);
  }

  /** Refuses, as an operation on it does. */
  fail(): never {
    fail(this.#message());
  }
}

/** A value with behaviour of its own: functions, macros, `loop`, namespaces. */
export abstract class Thing {
  /** What Python calls its type. */
  abstract readonly typeName: string;
  /** How it prints; undefined where Python prints an address. */
  repr?(run: Run): Str;
  /** An attribute; undefined where there is none. */
  attribute?(run: Run, name: string): Value | undefined;
  /** Its result as a function. */
  call?(run: Run, args: Arguments): Value;
  /** What a loop goes through. */
  iterate?(): Iterable<Value>;
  /** What `length` says. */
  size?(): number;
}

/** A function of ours, or a method with its object. */
export class Callable extends Thing {
  readonly typeName = "function";

  /** @param name for messages */
  constructor(readonly name: string, override call: (run: Run, args: Arguments) => Value) {
    super();
  }
}

// --- Dictionaries ---------------------------------------------------------------------------------

/** What stands for a key in a Map: equal for keys that are equal in Python. */
type Key = string | number | bigint | null | object;

/** Prefixes keys that are not the string itself, and strings that begin like one. */
const MARK = "\0";

function textKey(run: Run, text: string): string {
  if (text.length > 32) run.read(text);
  return markedKey(text);
}

function markedKey(text: string): string {
  return text.startsWith(MARK) ? `${MARK}s${text}` : text;
}

/** @throws {TemplateError} for lists and dicts, which have no hash */
export function keyOf(run: Run, value: Value): Key {
  if (typeof value === "string") return textKey(run, value);
  if (value instanceof Text) return textKey(run, value.text);
  if (value === null || typeof value === "number" || typeof value === "bigint") return value;
  if (typeof value === "boolean") return Number(value);
  if (value instanceof Float) {
    const { value: number } = value;
    // A whole float is the int of its value, however long.
    return Number.isInteger(number) && !Number.isSafeInteger(number) ? BigInt(number) : number;
  }
  if (value instanceof Tuple) {
    return run.nested(() => {
      let keys = "";
      for (const item of value.items) {
        const key = partKey(keyOf(run, item));
        run.make(key.length);
        keys += key;
      }
      return `${MARK}t${keys}`;
    });
  }
  if (value instanceof Undefined) return Undefined;
  if (Array.isArray(value) || value instanceof Dict || value instanceof DictView) {
    fail(`unhashable type: '${typeName(value)}'`);
  }
  return value;
}

/** A key as a part of a tuple's; its length says where it ends. */
function partKey(key: Key): string {
  if (key === Undefined) return "undefined";
  if (typeof key === "object" && key !== null) fail("a dict's key must not hold functions");
  const text = String(key);
  return `${typeof key === "string" ? "s" : ""}${text.length}:${text}`;
}

/** Python's dict: in the order in which keys came. */
export class Dict {
  readonly #entries = new Map<Key, [key: Value, value: Value]>();

  /** With keys that are texts; nobody is billed for them. */
  constructor(entries: Iterable<readonly [Str, Value]> = []) {
    for (const [key, value] of entries) this.#entries.set(markedKey(plain(key)), [key, value]);
  }

  /** Another with the same entries. */
  copy(): Dict {
    const copy = new Dict();
    for (const [key, [name, value]] of this.#entries) copy.#entries.set(key, [name, value]);
    return copy;
  }

  /** How many keys there are. */
  get size(): number {
    return this.#entries.size;
  }

  /** The value of a key; undefined where there is none. */
  get(run: Run, key: Value): Value | undefined {
    return this.#entries.get(keyOf(run, key))?.[1];
  }

  /** Keeps the first of equal keys, as Python does. */
  set(run: Run, key: Value, value: Value): void {
    const hash = keyOf(run, key);
    const entry = this.#entries.get(hash);
    if (entry === undefined) this.#entries.set(hash, [key, value]);
    else entry[1] = value;
  }

  /** Each key with its value. */
  entries(): IterableIterator<readonly [Value, Value]> {
    return this.#entries.values();
  }

  /** Each key. */
  *keys(): Generator<Value> {
    for (const [key] of this.#entries.values()) yield key;
  }

  /** Each value. */
  *values(): Generator<Value> {
    for (const [, value] of this.#entries.values()) yield value;
  }
}

/** What `keys()`, `values()` and `items()` of a dict give. */
export class DictView {
  /** Looks at the dict as it is. */
  constructor(readonly dict: Dict, readonly kind: "keys" | "values" | "items") {}

  /** What it shows. */
  *[Symbol.iterator](): Generator<Value> {
    for (const [key, value] of this.dict.entries()) {
      yield this.kind === "keys" ? key : this.kind === "values" ? value : new Tuple([key, value]);
    }
  }
}

// --- What every part asks -------------------------------------------------------------------------

/** What Python calls a value's type, for messages. */
export function typeName(value: Value): string {
  if (value === null) return "NoneType";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "number" || typeof value === "bigint") return "int";
  if (value instanceof Float) return "float";
  if (isStr(value)) return "str";
  if (Array.isArray(value)) return "list";
  if (value instanceof Tuple) return "tuple";
  if (value instanceof Dict) return "dict";
  if (value instanceof DictView) return `dict_${value.kind}`;
  if (value instanceof Range) return "range";
  if (value instanceof Lazy) return value.kind;
  if (value instanceof Undefined) return "Undefined";
  return value.typeName;
}

/** Python's truth. */
export function isTrue(value: Value): boolean {
  if (typeof value === "boolean") return value;
  if (typeof value === "string") return value !== "";
  if (value === null || value instanceof Undefined) return false;
  if (typeof value === "number") return value !== 0;
  if (typeof value === "bigint") return value !== 0n;
  return (lengthOf(value) ?? (value instanceof Float ? value.value : 1)) !== 0;
}

/** How many items there are, in characters for strings' sake; undefined for what has no length. */
function lengthOf(value: Exclude<Value, string>): number | undefined {
  if (value instanceof Text) return value.text.length;
  if (Array.isArray(value)) return value.length;
  if (value instanceof Tuple) return value.items.length;
  if (value instanceof Dict) return value.size;
  if (value instanceof DictView) return value.dict.size;
  if (value instanceof Range) return value.length;
  return value instanceof Thing ? value.size?.() : undefined;
}

/** What Python's `len` counts but for strings; undefined for what has no length. */
export function sizeOf(value: Exclude<Value, Str>): number | undefined {
  return value instanceof Undefined ? 0 : lengthOf(value);
}

/** JSON whose texts, keys of objects too, come from outside. */
export class Said {
  /** @param origin who wrote it */
  constructor(readonly json: unknown, readonly origin: TextOrigin) {}
}

/** A JSON value as a template's; its texts are the template's own, or come from `origin`. */
export function fromJson(value: unknown, origin?: TextOrigin): Value {
  if (value instanceof Said) return fromJson(value.json, value.origin);
  if (value === null || value === undefined || typeof value === "boolean") return value ?? null;
  if (typeof value === "string") return origin === undefined ? value : from(value, origin);
  if (typeof value === "number") {
    if (!Number.isInteger(value) || Object.is(value, -0) || Math.abs(value) > 2 ** 64) {
      return new Float(value);
    }
    // An int of 64 bits, which JSON's reader has rounded.
    return Number.isSafeInteger(value) ? value : BigInt(value);
  }
  if (Array.isArray(value)) return value.map((item) => fromJson(item, origin));
  if (typeof value === "object") {
    return new Dict(
      Object.entries(value)
        .filter(([, item]) => item !== undefined)
        .map(([key, item]) => [
          origin === undefined ? key : from(key, origin),
          fromJson(item, origin),
        ]),
    );
  }
  throw new TemplateError(`a template's input must be JSON: it has a ${typeof value}`);
}

/** The characters of a value that must be a string. */
export function textOf(value: Value, what: string): string {
  return isStr(value) ? plain(value) : fail(`${what} must be str, not ${typeName(value)}`);
}

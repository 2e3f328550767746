/**
 * `value.name` and `value[key]`, as jinja2's sandbox looks them up: methods of Python's types, keys of
 * dicts, and neither what is private nor what changes a value.
 *
 * @module
 */
import { type Arguments, type Binder, binder } from "./arguments.ts";
import { escape } from "./escape.ts";
import { type FieldLookup, formatFields } from "./format.ts";
import { itemAt, itemsOf, listOf } from "./items.ts";
import { asInt, payFor } from "./numbers.ts";
import { equals } from "./operators.ts";
import { repr } from "./printing.ts";
import { fail, type Run } from "./run.ts";
import { callStringMethod, hasStringMethod } from "./string_methods.ts";
import { isMarkup, isStr, marked, plain, type Str, unmarked } from "./text.ts";
import {
  Callable,
  Dict,
  DictView,
  Float,
  Lazy,
  Range,
  Thing,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

/** Methods that would change a list or a dict: the sandbox refuses them. */
const MUTATING: Readonly<Record<string, readonly string[]>> = {
  list: ["append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"],
  dict: ["clear", "pop", "popitem", "setdefault", "update"],
};

/** What every Python object has, and the sandbox shows to nobody. */
const PRIVATE =
  /^__(?:class|delattr|dir|doc|eq|format|ge|getattribute|getstate|gt|hash|init|init_subclass|le|lt|ne|new|reduce|reduce_ex|repr|setattr|sizeof|str|subclasshook)__$/;

/** Attributes that values have in Python and not here: to be told from keys that are not there. */
const UNSUPPORTED: Readonly<Record<string, readonly string[]>> = {
  dict: ["fromkeys"],
  dict_keys: ["mapping", "isdisjoint"],
  dict_values: ["mapping"],
  dict_items: ["mapping", "isdisjoint"],
  int: ["as_integer_ratio", "from_bytes", "to_bytes"],
  bool: ["as_integer_ratio", "from_bytes", "to_bytes"],
  float: ["as_integer_ratio", "fromhex", "hex"],
  generator: ["close", "send", "throw", "gi_running", "gi_yieldfrom", "gi_suspended"],
};

/** `value.name`: the attribute, else the item. */
export function getAttribute(run: Run, value: Value, name: string): Value {
  if (value instanceof Dict) {
    const item = value.get(run, name);
    // Most names that templates ask a dict for are keys and no methods.
    if (item !== undefined && !isDictAttribute(name)) return item;
  }
  const attribute = attributeOf(run, value, name);
  if (attribute !== undefined) return attribute;
  const item = itemAt(run, value, name);
  return item === undefined ? missing(run, value, name) : item;
}

/** `value[key]`: the item, else the attribute. */
export function getItem(run: Run, value: Value, key: Value): Value {
  run.spend(1);
  const item = itemAt(run, value, key);
  if (item !== undefined) return item;
  if (isStr(key)) {
    const attribute = attributeOf(run, value, plain(key));
    if (attribute !== undefined) return attribute;
  }
  return missing(run, value, key);
}

function missing(run: Run, value: Value, key: Value): Undefined {
  return new Undefined(() => {
    const owner = value === null ? "None" : `${typeName(value)} object`;
    return isStr(key)
      ? `'${owner}' has no attribute '${plain(key)}'`
      : `${owner} has no element ${plain(repr(run, key))}`;
  });
}

/** An attribute that may be shown; undefined where Python raises an AttributeError. */
export function attributeOf(run: Run, value: Value, name: string): Value | undefined {
  if (value instanceof Undefined) return PRIVATE.test(name) ? unsafe(value, name) : value.fail();
  if (value instanceof Thing) {
    const own = value.attribute?.(run, name);
    if (own !== undefined) return name.startsWith("_") ? unsafe(value, name) : own;
    return PRIVATE.test(name) && !isNamespaceLike(value) ? unsafe(value, name) : undefined;
  }
  if (PRIVATE.test(name)) return unsafe(value, name);
  if (isStr(value)) return stringAttribute(value, name);
  const kind = typeName(value);
  if (MUTATING[kind]?.includes(name)) return unsafe(value, name);
  if (UNSUPPORTED[kind]?.includes(name)) fail(`${kind}.${name} is not supported`);
  const method = METHODS[kind]?.get(name);
  if (method !== undefined) {
    return new Callable(name, (run, args) => method.call(run, value, method.bind(args)));
  }
  return propertyOf(value, name);
}

/** A namespace shows what was set on it and nothing else. */
function isNamespaceLike(value: Thing): boolean {
  return value.typeName === "Namespace";
}

function unsafe(value: Value, name: string): Undefined {
  return new Undefined(() =>
    `access to attribute '${name}' of '${typeName(value)}' object is unsafe.`
  );
}

function isDictAttribute(name: string): boolean {
  return METHODS["dict"]!.has(name) || MUTATING["dict"]!.includes(name) ||
    UNSUPPORTED["dict"]!.includes(name) || PRIVATE.test(name);
}

// --- Strings --------------------------------------------------------------------------------------

function stringAttribute(value: Str, name: string): Value | undefined {
  if (name === "format" || name === "format_map") {
    return new Callable(name, (run, args) => formatMethod(run, value, name, args));
  }
  if (!hasStringMethod(name)) return undefined;
  return new Callable(
    name,
    (run, args) =>
      isMarkup(value)
        ? markupMethod(run, value, name, args)
        : callStringMethod(run, value, name, args),
  );
}

/** Of these methods of markup, the arguments that are escaped. */
const ESCAPED: Readonly<Record<string, number>> = {
  join: 0,
  replace: 1,
  center: 1,
  ljust: 1,
  rjust: 1,
};

/** Markup's methods give markup. */
function markupMethod(run: Run, value: Str, name: string, { positional, named }: Arguments): Value {
  const safe = (item: Value): Value => isStr(item) ? unmarked(escape(run, item)) : item;
  const argument = (item: Value, index: number): Value => {
    if (ESCAPED[name] !== index) return item;
    return name === "join" ? listOf(run, item).map(safe) : safe(item);
  };
  const result = callStringMethod(run, unmarked(value), name, {
    positional: positional.map(argument),
    named,
  });
  const mark = (item: Value): Value => isStr(item) ? marked(item) : item;
  if (Array.isArray(result)) return result.map(mark);
  return result instanceof Tuple ? new Tuple(result.items.map(mark)) : mark(result);
}

function formatMethod(run: Run, value: Str, name: string, args: Arguments): Value {
  if (isMarkup(value)) fail("Markup.format() is not supported");
  const lookup: FieldLookup = {
    attribute: (owner, attribute) => getAttribute(run, owner, attribute),
    item: (owner, key) => getItem(run, owner, key),
  };
  if (name === "format") return formatFields(run, value, args, lookup);
  const [mapping] = args.positional;
  if (args.positional.length !== 1 || args.named.size > 0 || !(mapping instanceof Dict)) {
    fail("format_map() takes exactly one argument, a dict");
  }
  const named = new Map<string, Value>();
  for (const [key, item] of mapping.entries()) if (isStr(key)) named.set(plain(key), item);
  return formatFields(run, value, { positional: [], named }, lookup);
}

// --- Other types ----------------------------------------------------------------------------------

interface Method {
  readonly bind: Binder;
  call(run: Run, self: Value, args: Value[]): Value;
}

function method<T extends Value>(
  name: string,
  parameters: string,
  call: (run: Run, self: T, args: Value[]) => Value,
): Method {
  return { bind: binder(name, parameters), call: call as Method["call"] };
}

const COUNT = method("count", "value, /", (run, self, [wanted]) => {
  let count = 0;
  for (const item of itemsOf(run, self)) if (equals(run, item, wanted!)) count++;
  return count;
});

const INDEX = method("index", "value, start=0, stop=9007199254740991, /", (run, self, args) => {
  const items = listOf(run, self);
  const border = (value: Value) => {
    const index = Number(asInt(value) ?? fail("slice indices must be integers"));
    return index < 0 ? Math.max(0, index + items.length) : Math.min(index, items.length);
  };
  for (let at = border(args[1]!); at < border(args[2]!); at++) {
    if (equals(run, items[at]!, args[0]!)) return at;
  }
  return fail("the value is not in the list");
});

const INT_METHODS = byName({
  bit_length: method("bit_length", "", (run, self) => bits(run, self).length),
  bit_count: method("bit_count", "", (run, self) => bits(run, self).replaceAll("0", "").length),
  conjugate: method("conjugate", "", (_, self) => asInt(self)!),
});

/** Binary digits of an int's size; none of 0. */
function bits(run: Run, self: Value): string {
  payFor(run, asInt(self)!);
  const value = BigInt(asInt(self)!);
  return value === 0n ? "" : (value < 0n ? -value : value).toString(2);
}

const METHODS: Readonly<Record<string, ReadonlyMap<string, Method>>> = {
  dict: byName({
    get: method<Dict>("get", "key, default=None, /", (run, self, [key, otherwise]) => {
      const value = self.get(run, key!);
      return value === undefined ? otherwise! : value;
    }),
    keys: method<Dict>("keys", "", (_, self) => new DictView(self, "keys")),
    values: method<Dict>("values", "", (_, self) => new DictView(self, "values")),
    items: method<Dict>("items", "", (_, self) => new DictView(self, "items")),
    copy: method<Dict>("copy", "", (run, self) => {
      run.makeEntries(self.size);
      return self.copy();
    }),
  }),
  list: byName({
    count: COUNT,
    index: INDEX,
    copy: method<Value[]>("copy", "", (run, self) => {
      run.makeItems(self.length);
      return [...self];
    }),
  }),
  tuple: byName({ count: COUNT, index: INDEX }),
  range: byName({ count: COUNT, index: INDEX }),
  int: INT_METHODS,
  bool: INT_METHODS,
  float: byName({
    is_integer: method<Float>("is_integer", "", (_, self) => Number.isInteger(self.value)),
    conjugate: method<Float>("conjugate", "", (_, self) => self),
  }),
};

function byName(methods: Readonly<Record<string, Method>>): ReadonlyMap<string, Method> {
  return new Map(Object.entries(methods));
}

function propertyOf(value: Value, name: string): Value | undefined {
  if (value instanceof Range && (name === "start" || name === "stop" || name === "step")) {
    return value[name];
  }
  if (value instanceof Tuple) {
    const index = value.names.indexOf(name);
    return index < 0 ? undefined : value.items[index];
  }
  if (value instanceof Float) {
    return name === "real" ? value : name === "imag" ? new Float(0) : undefined;
  }
  const int = value instanceof Lazy ? undefined : asInt(value);
  if (int === undefined) return undefined;
  if (name === "real" || name === "numerator") return int;
  return name === "imag" ? 0 : name === "denominator" ? 1 : undefined;
}

/**
 * jinja2's filters and tests by name. What is not here is refused by its name.
 *
 * @module
 */
import { binder } from "./arguments.ts";
import { isLower, isUpper } from "./characters.ts";
import { iterableOf } from "./items.ts";
import { binary, compare, type Comparison, equals } from "./operators.ts";
import { NUMBER_FILTERS } from "./number_filters.ts";
import { toText } from "./printing.ts";
import { type Builtins, fail, type Filter, type Run, type Test } from "./run.ts";
import { SEQUENCE_FILTERS } from "./sequence_filters.ts";
import { TEXT_FILTERS } from "./text_filters.ts";
import { isMarkup, isStr, plain } from "./text.ts";
import { Dict, Float, keyOf, Range, Thing, Tuple, Undefined, type Value } from "./values.ts";

const FILTERS: ReadonlyMap<string, Filter> = new Map(Object.entries({
  ...TEXT_FILTERS,
  ...SEQUENCE_FILTERS,
  ...NUMBER_FILTERS,
}));

function test(
  name: string,
  parameters: string,
  holds: (run: Run, value: Value, args: Value[]) => boolean,
): Test {
  const bind = binder(name, parameters);
  return (run, value, args) => holds(run, value, bind(args));
}

function comparing(operator: Comparison): Test {
  return test(operator, "other, /", (run, value, [other]) => compare(run, operator, value, other!));
}

function ofKind(name: string, holds: (value: Value) => boolean): Test {
  return test(name, "", (_, value) => holds(value));
}

function isNumber(value: Value): boolean {
  return typeof value === "boolean" || isInteger(value) || value instanceof Float;
}

function isInteger(value: Value): value is number | bigint {
  return typeof value === "number" || typeof value === "bigint";
}

function examined(run: Run, value: Value): string {
  const text = plain(toText(run, value));
  run.examine(text);
  return text;
}

function hasRemainder(remainder: number): Test {
  return test("odd", "", (run, value) => equals(run, binary(run, "%", value, 2), remainder));
}

/** What Python can count and take items of. */
function isSequence(value: Value): boolean {
  return isStr(value) || Array.isArray(value) || value instanceof Tuple || value instanceof Dict ||
    value instanceof Range || value instanceof Undefined;
}

/** Python's `is`, where it does not hang on how Python keeps equal texts and ints. */
function isSame(run: Run, value: Value, other: Value): boolean {
  const isKept = (item: Value) => isStr(item) || (isInteger(item) && (item < -5 || item > 256));
  if (isKept(value) && isKept(other) && equals(run, value, other)) {
    fail("sameas of equal texts or large ints is not supported");
  }
  return value === other;
}

function byName(names: () => ReadonlyMap<string, unknown>): Test {
  return test("filter", "", (run, value) => names().has(String(keyOf(run, value))));
}

const TESTS: ReadonlyMap<string, Test> = new Map(Object.entries({
  odd: hasRemainder(1),
  even: hasRemainder(0),
  divisibleby: test("divisibleby", "num", (run, value, [by]) => {
    return equals(run, binary(run, "%", value, by!), 0);
  }),
  defined: ofKind("defined", (value) => !(value instanceof Undefined)),
  undefined: ofKind("undefined", (value) => value instanceof Undefined),
  filter: byName(() => FILTERS),
  test: byName(() => TESTS),
  none: ofKind("none", (value) => value === null),
  boolean: ofKind("boolean", (value) => typeof value === "boolean"),
  false: ofKind("false", (value) => value === false),
  true: ofKind("true", (value) => value === true),
  integer: ofKind("integer", isInteger),
  float: ofKind("float", (value) => value instanceof Float),
  lower: test("lower", "", (run, value) => isLower(examined(run, value))),
  upper: test("upper", "", (run, value) => isUpper(examined(run, value))),
  string: ofKind("string", isStr),
  mapping: ofKind("mapping", (value) => value instanceof Dict),
  number: ofKind("number", isNumber),
  sequence: ofKind("sequence", isSequence),
  iterable: test("iterable", "", (run, value) => iterableOf(run, value) !== undefined),
  callable: ofKind("callable", (value) => {
    return value instanceof Undefined || (value instanceof Thing && value.call !== undefined);
  }),
  sameas: test("sameas", "other", (run, value, [other]) => isSame(run, value, other!)),
  escaped: ofKind("escaped", isMarkup),
  in: test("in", "seq", (run, value, [seq]) => compare(run, "in", value, seq!)),
  "==": comparing("=="),
  eq: comparing("=="),
  equalto: comparing("=="),
  "!=": comparing("!="),
  ne: comparing("!="),
  ">": comparing(">"),
  gt: comparing(">"),
  greaterthan: comparing(">"),
  ge: comparing(">="),
  ">=": comparing(">="),
  "<": comparing("<"),
  lt: comparing("<"),
  lessthan: comparing("<"),
  "<=": comparing("<="),
  le: comparing("<="),
}));

/** All of them. */
export const BUILTINS: Builtins = { filters: FILTERS, tests: TESTS };

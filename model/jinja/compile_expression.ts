/**
 * Expressions as functions of JavaScript.
 *
 * @module
 */
import { type Arguments, NO_ARGUMENTS } from "./arguments.ts";
import type { CallArguments, Expression, ExpressionOf } from "./ast.ts";
import { getAttribute, getItem } from "./attributes.ts";
import type { Frame } from "./frame.ts";
import { listOf, sliceOf } from "./items.ts";
import { failAt } from "./lexer.ts";
import { binary, compare, unary } from "./operators.ts";
import { toText } from "./printing.ts";
import { type Builtins, fail, type Run } from "./run.ts";
import type { FunctionScope, Slot, Symbols } from "./scope.ts";
import { isStr, join, plain, type Str } from "./text.ts";
import { Dict, isTrue, Thing, Tuple, typeName, Undefined, type Value } from "./values.ts";

/** An expression, ready to be evaluated. */
export type Evaluate = (frame: Frame) => Value;

/** Where an expression stands. */
export interface ExpressionScope {
  readonly symbols: Symbols;
  readonly owner: FunctionScope;
  readonly builtins: Builtins;
  /** In an `if`, a filter that does not exist is refused only when it is used. */
  readonly isSoft: boolean;
}

/** The expression as a function. */
export function compileExpression(node: Expression, scope: ExpressionScope): Evaluate {
  const compiled = (child: Expression) => compileExpression(child, scope);
  switch (node.kind) {
    case "name":
      return reader(slotOf(node.name, scope), node.name, scope);
    case "constant": {
      const { value } = node;
      return () => value;
    }
    case "data": {
      const { text } = node;
      return () => text;
    }
    case "tuple": {
      const items = node.items.map(compiled);
      return (frame) => {
        frame.run.makeItems(items.length);
        return new Tuple(items.map((item) => item(frame)));
      };
    }
    case "list": {
      const items = node.items.map(compiled);
      return (frame) => {
        frame.run.makeItems(items.length);
        return items.map((item) => item(frame));
      };
    }
    case "dict": {
      const entries = node.entries.map(([key, value]) => [compiled(key), compiled(value)] as const);
      return (frame) => {
        frame.run.makeEntries(entries.length);
        const dict = new Dict();
        for (const [key, value] of entries) dict.set(frame.run, key(frame), value(frame));
        return dict;
      };
    }
    case "conditional":
      return compileConditional(node, { ...scope, isSoft: true });
    case "filter":
      return compileFilter(node, scope);
    case "test":
      return compileTest(node, scope);
    case "call":
      return compileCall(node, scope);
    case "item":
      return compileItem(node, scope);
    case "attribute": {
      const [value, { name }] = [compiled(node.value), node];
      return (frame) => {
        frame.run.spend(1);
        return getAttribute(frame.run, value(frame), name);
      };
    }
    case "concat": {
      const parts = node.parts.map(compiled);
      return (frame) => join(frame.run, parts.map((part) => toText(frame.run, part(frame))));
    }
    case "compare":
      return compileCompare(node, scope);
    case "binary": {
      const [left, right, { operator }] = [compiled(node.left), compiled(node.right), node];
      return (frame) => binary(frame.run, operator, left(frame), right(frame));
    }
    case "logical": {
      const [left, right] = [compiled(node.left), compiled(node.right)];
      const isAnd = node.operator === "and";
      return (frame) => {
        frame.run.spend(1);
        const value = left(frame);
        return isTrue(value) === isAnd ? right(frame) : value;
      };
    }
    case "unary": {
      const [value, { operator }] = [compiled(node.value), node];
      return (frame) => {
        frame.run.spend(1);
        return operator === "not" ? !isTrue(value(frame)) : unary(operator, value(frame));
      };
    }
    case "slice":
    case "attributeTarget":
      return failAt(node.line, `a ${node.kind} is no value`);
  }
}

/** The variable that a name means. */
export function slotOf(name: string, { symbols }: ExpressionScope): Slot {
  return symbols.find(name) ?? fail(`the name ${name} is unknown where it is used`);
}

/** The frame that holds a slot. */
export function holderOf({ scope: owner }: Slot, scope: ExpressionScope): (frame: Frame) => Frame {
  switch (scope.owner.distanceTo(owner)) {
    case 0:
      return (frame) => frame;
    case 1:
      return (frame) => frame.parent!;
    default: {
      const distance = scope.owner.distanceTo(owner);
      return (frame) => {
        let holder = frame;
        for (let i = 0; i < distance; i++) holder = holder.parent!;
        return holder;
      };
    }
  }
}

function reader(slot: Slot, name: string, scope: ExpressionScope): Evaluate {
  const { index } = slot;
  if (slot.scope === scope.owner) return ({ slots }) => valueOf(slots[index], name);
  const holder = holderOf(slot, scope);
  return (frame) => valueOf(holder(frame).slots[index], name);
}

function valueOf(value: Value | undefined, name: string): Value {
  return value === undefined ? Undefined.named(name) : value;
}

function compileConditional(
  node: ExpressionOf<"conditional">,
  scope: ExpressionScope,
): Evaluate {
  const test = compileExpression(node.test, scope);
  const then = compileExpression(node.then, scope);
  if (node.otherwise !== undefined) {
    const otherwise = compileExpression(node.otherwise, scope);
    return (frame) => {
      frame.run.spend(1);
      return isTrue(test(frame)) ? then(frame) : otherwise(frame);
    };
  }
  const absent = new Undefined(() =>
    `the inline if-expression on line ${node.line} evaluated to false and no else section was defined.`
  );
  return (frame) => {
    frame.run.spend(1);
    return isTrue(test(frame)) ? then(frame) : absent;
  };
}

function compileFilter(node: ExpressionOf<"filter">, scope: ExpressionScope): Evaluate {
  const { name, line } = node;
  const filter = scope.builtins.filters.get(name) ?? missing("filter", name, line, scope);
  const call = compileArguments(node.call, scope);
  const value: Evaluate = node.value === undefined
    ? ({ captured }) => captured
    : compileExpression(node.value, scope);
  return (frame) => {
    frame.run.spend(1);
    return filter(frame.run, value(frame), call(frame));
  };
}

/** A filter that does not exist: refused at once, or in an `if` when it is used. */
function missing(kind: "filter" | "test", name: string, line: number, scope: ExpressionScope) {
  if (!scope.isSoft) failAt(line, `No ${kind} named '${name}'.`);
  return (): never => fail(`No ${kind} named '${name}' found.`);
}

function compileTest(node: ExpressionOf<"test">, scope: ExpressionScope): Evaluate {
  const { name, line } = node;
  const test = scope.builtins.tests.get(name) ?? missing("test", name, line, scope);
  const value = compileExpression(node.value, scope);
  const call = compileArguments(node.call, scope);
  return (frame) => {
    frame.run.spend(1);
    return test(frame.run, value(frame), call(frame));
  };
}

function compileCompare(node: ExpressionOf<"compare">, scope: ExpressionScope): Evaluate {
  const first = compileExpression(node.first, scope);
  const rest = node.rest.map(({ operator, value }) => ({
    operator,
    value: compileExpression(value, scope),
  }));
  return (frame) => {
    let left = first(frame);
    for (const { operator, value } of rest) {
      const right = value(frame);
      if (!compare(frame.run, operator, left, right)) return false;
      left = right;
    }
    return true;
  };
}

function compileItem(node: ExpressionOf<"item">, scope: ExpressionScope): Evaluate {
  const value = compileExpression(node.value, scope);
  if (node.key.kind !== "slice") {
    const key = compileExpression(node.key, scope);
    return (frame) => getItem(frame.run, value(frame), key(frame));
  }
  const part = (child: Expression | undefined): Evaluate =>
    child === undefined ? () => null : compileExpression(child, scope);
  const [start, stop, step] = [part(node.key.start), part(node.key.stop), part(node.key.step)];
  return (frame) =>
    sliceOf(frame.run, value(frame), {
      start: start(frame),
      stop: stop(frame),
      step: step(frame),
    });
}

/** A call; `more` are arguments by name that the template does not write. */
export function compileCall(
  node: ExpressionOf<"call">,
  scope: ExpressionScope,
  more?: (frame: Frame) => readonly [string, Value],
): Evaluate {
  const callee = compileExpression(node.callee, scope);
  const call = compileArguments(node.call, scope);
  return (frame) => {
    const called = callee(frame);
    let args = call(frame);
    if (more !== undefined) {
      args = { ...args, named: new Map([...args.named, more(frame)]) };
    }
    return callValue(frame.run, called, args);
  };
}

/** Calls a value, as `value(…)` does. */
function callValue(run: Run, value: Value, args: Arguments): Value {
  run.spend(1);
  if (value instanceof Undefined) value.fail();
  if (!(value instanceof Thing) || value.call === undefined) {
    fail(`'${typeName(value)}' object is not callable`);
  }
  return value.call(run, args);
}

/** Arguments, evaluated in their order. */
function compileArguments(
  { args, kwargs, dynArgs, dynKwargs }: CallArguments,
  scope: ExpressionScope,
): (frame: Frame) => Arguments {
  const compiled = (node: Expression) => compileExpression(node, scope);
  if (args.length === 0 && kwargs.length === 0 && !dynArgs && !dynKwargs) return () => NO_ARGUMENTS;
  const positional = args.map(compiled);
  const named = kwargs.map(({ key, value }) => [key, compiled(value)] as const);
  const more = dynArgs && compiled(dynArgs);
  const moreNamed = dynKwargs && compiled(dynKwargs);
  return (frame) => {
    frame.run.makeItems(positional.length + named.length);
    let values = positional.map((value) => value(frame));
    if (more !== undefined) values = [...values, ...listOf(frame.run, more(frame))];
    const names = named.length === 0 && moreNamed === undefined
      ? NO_ARGUMENTS.named
      : new Map(named.map(([key, value]) => [key, value(frame)]));
    if (moreNamed === undefined) return { positional: values, named: names };
    return { positional: values, ...withMore(frame.run, names, moreNamed(frame)) };
  };
}

/** Arguments by name, those of a `**` too. */
function withMore(
  run: Run,
  given: ReadonlyMap<string, Value>,
  more: Value,
): Pick<Arguments, "named" | "names"> {
  if (!(more instanceof Dict)) fail(`argument after ** must be a mapping, not ${typeName(more)}`);
  run.makeEntries(2 * more.size);
  const [named, names] = [new Map(given), new Map<string, Str>()];
  for (const [key, item] of more.entries()) {
    const name = isStr(key) ? plain(key) : fail("keywords must be strings");
    if (named.has(name)) fail(`got multiple values for keyword argument '${name}'`);
    named.set(name, item);
    names.set(name, key as Str);
  }
  return { named, names };
}

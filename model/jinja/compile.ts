/**
 * Statements as functions of JavaScript.
 *
 * @module
 */
import { type Signature, type Statement, type StatementOf, walk } from "./ast.ts";
import { assigner, namespaceCheck } from "./assign.ts";
import { type Block, TemplateReference } from "./block.ts";
import { compileCall, compileExpression, type Evaluate, holderOf } from "./compile_expression.ts";
import { enterScope, Scope } from "./compile_scope.ts";
import { type Context, Frame } from "./frame.ts";
import { itemsOf, iterableOf } from "./items.ts";
import { failAt } from "./lexer.ts";
import { Loop } from "./loop.ts";
import { Macro, type MacroArguments } from "./macro.ts";
import { toText } from "./printing.ts";
import { type Builtins, fail, type Run } from "./run.ts";
import { FunctionScope, type Slot, Symbols, undeclared } from "./scope.ts";
import { isStr, type Str, Writer } from "./text.ts";
import { isTrue, Lazy, typeName, Undefined, type Value } from "./values.ts";

/** How a statement ends: on to the next, or out of the loop, or on to its next turn. */
type Flow = undefined | "break" | "continue";

/** A statement, ready to be executed. */
type Execute = (frame: Frame) => Flow;

/** Renders into a frame's writer. */
export type Template = (run: Run, context: Context) => Str;

/** The template as a function. */
export function compile(body: readonly Statement[], builtins: Builtins): Template {
  const compiler = new Compiler(body, builtins);
  return compiler.template;
}

class Compiler {
  readonly template: Template;
  readonly #builtins: Builtins;
  readonly #blocks = new Map<string, Block>();
  readonly #names = new Set<string>();

  constructor(body: readonly Statement[], builtins: Builtins) {
    this.#builtins = builtins;
    for (const node of body.flatMap((statement) => [...walk(statement)])) {
      if (node.kind !== "block") continue;
      if (this.#names.has(node.name)) failAt(node.line, `block '${node.name}' defined twice`);
      this.#names.add(node.name);
    }
    this.template = this.#root(body);
  }

  #root(body: readonly Statement[]): Template {
    const root = new FunctionScope();
    const scope = new Scope(new Symbols(root), root, this.#builtins);
    scope.isTop = true;
    const self = this.#self(body, scope);
    scope.symbols.enterAll(body);
    const execute = this.#sequence(body, scope);
    const enter = enterScope(scope);
    return (run, context) => {
      const frame = new Frame(run, context, root, new Writer(run));
      self?.(frame);
      enter(frame);
      execute(frame);
      return frame.out.finish();
    };
  }

  /** `self`, which has the template's blocks as functions. */
  #self(body: readonly Statement[], scope: Scope): ((frame: Frame) => void) | undefined {
    if (!undeclared(body, ["self"]).has("self")) return undefined;
    const slot = scope.symbols.declareParameter("self");
    return (frame) => {
      frame.slots[slot.index] = new TemplateReference(this.#blocks, frame.context);
    };
  }

  #sequence(body: readonly Statement[], scope: Scope): Execute {
    const statements = body.map((node) => this.#statement(node, scope));
    return (frame) => {
      for (const execute of statements) {
        frame.run.spend(1);
        const flow = execute(frame);
        if (flow !== undefined) return flow;
      }
      return undefined;
    };
  }

  #statement(node: Statement, scope: Scope): Execute {
    switch (node.kind) {
      case "output":
        return this.#output(node, scope);
      case "for":
        return this.#for(node, scope);
      case "if":
        return this.#if(node, scope);
      case "set":
        return this.#set(node, scope);
      case "setBlock":
        return this.#setBlock(node, scope);
      case "macro":
        return this.#macro(node, scope);
      case "callBlock":
        return this.#callBlock(node, scope);
      case "generation":
        return this.#generation(node, scope);
      case "filterBlock":
        return this.#filterBlock(node, scope);
      case "with":
        return this.#with(node, scope);
      case "block":
        return this.#block(node, scope);
      case "load":
        return () => fail(`the tag ${node.tag} needs other templates, and there are none`);
      case "break":
      case "continue":
        if (!scope.isInLoop) failAt(node.line, `'${node.kind}' outside loop`);
        return () => node.kind;
    }
  }

  #output(node: StatementOf<"output">, scope: Scope): Execute {
    const parts = node.parts.map((part) => compileExpression(part, scope));
    return (frame) => {
      const { run, out } = frame;
      for (const part of parts) out.write(toText(run, part(frame)));
    };
  }

  #if(node: StatementOf<"if">, scope: Scope): Execute {
    const soft = scope.soft();
    const branches = [node, ...node.elifs].map(({ test, body }) => ({
      test: compileExpression(test, soft),
      body: this.#sequence(body, soft),
    }));
    const otherwise = this.#sequence(node.otherwise, soft);
    return (frame) => {
      for (const { test, body } of branches) {
        frame.run.spend(1);
        if (isTrue(test(frame))) return body(frame);
      }
      return otherwise(frame);
    };
  }

  #for(node: StatementOf<"for">, scope: Scope): Execute {
    const ownFunction = node.isRecursive ? new FunctionScope(scope.owner) : scope.owner;
    const loopScope = scope.inner(ownFunction);
    const readsLoop = node.isRecursive || undeclared(node.body, ["loop"]).has("loop") ||
      node.body.some((child) => hasScopedBlock(child));
    const loopSlot = readsLoop ? loopScope.symbols.declareParameter("loop") : undefined;
    loopScope.symbols.enterTarget(node.target);
    loopScope.symbols.enterAll(node.body);
    for (const child of walk(node)) {
      if (child.kind === "name" && child.use === "store" && child.name === "loop") {
        failAt(child.line, "Can't assign to special loop variable in for-loop target");
      }
    }
    loopScope.isInLoop = true;
    const iterable = compileExpression(node.iterable, scope);
    const only = this.#loopTest(node, scope, ownFunction);
    const assign = assigner(node.target, loopScope);
    const body = this.#sequence(node.body, loopScope);
    const enter = enterScope(loopScope);
    const otherwise = this.#otherwise(node, scope, ownFunction);

    const turns = (frame: Frame, items: Value, recurse?: Recursion): Flow => {
      const chosen = only === undefined ? items : only(frame, items);
      let isUntouched = true;
      const turn = (item: Value): Flow => {
        frame.run.spend(1);
        assign(frame, item);
        enter(frame);
        const flow = body(frame);
        // jinja2 takes note at a turn's end, which `break` and `continue` do not reach.
        if (flow === undefined) isUntouched = false;
        return flow;
      };
      if (loopSlot === undefined) {
        for (const item of iterableOf(frame.run, chosen) ?? notIterable(chosen)) {
          if (turn(item) === "break") break;
        }
      } else {
        const loop = new Loop(frame.run, chosen, recurse?.call, recurse?.depth);
        for (let item = loop.advance(); item !== undefined; item = loop.advance()) {
          frame.slots[loopSlot.index] = loop;
          if (turn(item) === "break") break;
        }
      }
      return isUntouched ? otherwise?.(frame) : undefined;
    };
    if (!node.isRecursive) return (frame) => turns(frame, iterable(frame));
    return (frame) => {
      const call = (items: Value, depth: number): Str => {
        const own = new Frame(frame.run, frame.context, ownFunction, new Writer(frame.run), frame);
        turns(own, items, { call, depth });
        return own.out.finish();
      };
      frame.out.write(call(iterable(frame), 0));
    };
  }

  /** `for … if test`: the items that it lets through, as they are asked for. */
  #loopTest(
    node: StatementOf<"for">,
    scope: Scope,
    ownFunction: FunctionScope,
  ): ((frame: Frame, items: Value) => Value) | undefined {
    if (node.test === undefined) return undefined;
    const testScope = scope.inner(ownFunction);
    testScope.symbols.enterTarget(node.target);
    testScope.symbols.enter(node.test);
    const assign = assigner(node.target, testScope);
    const test = compileExpression(node.test, testScope);
    const enter = enterScope(testScope);
    return (frame, items) => {
      const chosen = function* (): Generator<Value> {
        enter(frame);
        for (const item of itemsOf(frame.run, items)) {
          assign(frame, item);
          if (isTrue(test(frame))) yield item;
        }
      };
      return new Lazy(chosen());
    };
  }

  #otherwise(
    node: StatementOf<"for">,
    scope: Scope,
    ownFunction: FunctionScope,
  ): Execute | undefined {
    if (node.otherwise.length === 0) return undefined;
    const elseScope = scope.inner(ownFunction);
    elseScope.symbols.enterAll(node.otherwise);
    const body = this.#sequence(node.otherwise, elseScope);
    const enter = enterScope(elseScope);
    return (frame) => {
      enter(frame);
      return body(frame);
    };
  }

  #set(node: StatementOf<"set">, scope: Scope): Execute {
    const value = compileExpression(node.value, scope);
    const assign = assigner(node.target, scope);
    const check = namespaceCheck(node.target, scope);
    return (frame) => {
      check(frame);
      assign(frame, value(frame));
    };
  }

  #setBlock(node: StatementOf<"setBlock">, scope: Scope): Execute {
    const inner = scope.inner();
    inner.symbols.enterAll(node.body);
    const body = this.#captured(node.body, inner);
    const filtered = node.filter === undefined
      ? (frame: Frame) => frame.captured
      : compileExpression(node.filter, inner);
    const assign = assigner(node.target, scope);
    return (frame) => {
      const [text, flow] = body(frame);
      if (flow !== undefined) return flow;
      frame.captured = text;
      assign(frame, filtered(frame));
      return undefined;
    };
  }

  #filterBlock(node: StatementOf<"filterBlock">, scope: Scope): Execute {
    const inner = scope.inner();
    inner.symbols.enterAll([...node.body, node.filter]);
    const body = this.#captured(node.body, inner);
    const filtered = compileExpression(node.filter, inner);
    return (frame) => {
      const [text, flow] = body(frame);
      if (flow !== undefined) return flow;
      frame.captured = text;
      frame.out.write(textFrom("a filter block", filtered(frame)));
      return undefined;
    };
  }

  /** What a body writes, as a text. */
  #captured(body: readonly Statement[], scope: Scope): (frame: Frame) => readonly [Str, Flow] {
    const execute = this.#sequence(body, scope);
    const enter = enterScope(scope);
    return (frame) => {
      const { out } = frame;
      frame.out = new Writer(frame.run);
      enter(frame);
      const flow = execute(frame);
      const text = frame.out.finish();
      frame.out = out;
      return [text, flow];
    };
  }

  #with(node: StatementOf<"with">, scope: Scope): Execute {
    const inner = scope.inner();
    inner.symbols.enterAll([...node.targets, ...node.body]);
    const values = node.values.map((value) => compileExpression(value, scope));
    const assigns = node.targets.map((target) => assigner(target, inner));
    const body = this.#sequence(node.body, inner);
    const enter = enterScope(inner);
    return (frame) => {
      enter(frame);
      for (const [i, assign] of assigns.entries()) assign(frame, values[i]!(frame));
      return body(frame);
    };
  }

  // --- Macros -------------------------------------------------------------------------------------

  #macro(node: StatementOf<"macro">, scope: Scope): Execute {
    const make = this.#macroMaker(node.name, node.signature, node.body, scope);
    const assign = assigner(
      { kind: "name", name: node.name, use: "store", line: node.line },
      scope,
    );
    return (frame) => {
      assign(frame, make(frame));
    };
  }

  #callBlock(node: StatementOf<"callBlock">, scope: Scope): Execute {
    const make = this.#macroMaker(null, node.signature, node.body, scope);
    const call = compileCall(node.callee, scope, (frame) => ["caller", make(frame)]);
    return (frame) => {
      frame.out.write(textFrom("a call block", call(frame)));
    };
  }

  #generation(node: StatementOf<"generation">, scope: Scope): Execute {
    const make = this.#macroMaker(null, { parameters: [], defaults: [] }, node.body, scope);
    return (frame) => {
      frame.out.write(make(frame).call(frame.run, { positional: [], named: new Map() }) as Str);
    };
  }

  /** Makes the macro, with the variables of the frame that defines it. */
  #macroMaker(
    name: string | null,
    { parameters, defaults }: Signature,
    body: readonly Statement[],
    outer: Scope,
  ): (frame: Frame) => Macro {
    const own = new FunctionScope(outer.owner);
    const scope = outer.inner(own);
    const enterBody = () => scope.symbols.enterAll([...parameters, ...defaults, ...body]);
    enterBody();
    const read = undeclared(body, ["caller", "kwargs", "varargs"]);
    const names = parameters.map(({ name }) => name);
    const special = (which: string): Slot | undefined =>
      read.has(which) && !names.includes(which) ? scope.symbols.declareParameter(which) : undefined;
    const callerAt = names.indexOf("caller");
    if (read.has("caller") && callerAt >= 0 && callerAt < names.length - defaults.length) {
      fail('the special "caller" argument of a macro must be omitted or be given a default');
    }
    const caller = special("caller");
    const kwargs = special("kwargs");
    const varargs = special("varargs");
    enterBody();
    const slots = parameters.map((parameter) => scope.symbols.find(parameter.name)!.index);
    const fallbacks = parameters.map((parameter, i): Evaluate => {
      const fallback = defaults[i - parameters.length + defaults.length];
      if (fallback !== undefined) return compileExpression(fallback, scope);
      return () => new Undefined(() => `parameter '${parameter.name}' was not provided`);
    });
    const execute = this.#sequence(body, scope);
    const enter = enterScope(scope);
    const shape = {
      name,
      parameters: names,
      catchKwargs: kwargs !== undefined,
      catchVarargs: varargs !== undefined,
      caller: read.has("caller"),
    };
    return (outerFrame) =>
      new Macro(shape, (run, args: MacroArguments) => {
        const frame = new Frame(run, outerFrame.context, own, new Writer(run), outerFrame);
        slots.forEach((slot, i) => frame.slots[slot] = args.values[i]);
        if (caller !== undefined) frame.slots[caller.index] = args.caller;
        if (kwargs !== undefined) frame.slots[kwargs.index] = args.kwargs;
        if (varargs !== undefined) frame.slots[varargs.index] = args.varargs;
        enter(frame);
        slots.forEach((slot, i) => {
          if (frame.slots[slot] === undefined) frame.slots[slot] = fallbacks[i]!(frame);
        });
        execute(frame);
        return frame.out.finish();
      });
  }

  // --- Blocks -------------------------------------------------------------------------------------

  #block(node: StatementOf<"block">, outer: Scope): Execute {
    const { name, body } = node;
    const root = new FunctionScope();
    const scope = new Scope(new Symbols(root), root, this.#builtins);
    const self = this.#self(body, scope);
    const superSlot = undeclared(body, ["super"]).has("super")
      ? scope.symbols.declareParameter("super")
      : undefined;
    scope.symbols.enterAll(body);
    const execute = this.#sequence(body, scope);
    const enter = enterScope(scope);
    const block: Block = (run, context, out) => {
      const frame = new Frame(run, context, root, out);
      self?.(frame);
      if (superSlot !== undefined) {
        frame.slots[superSlot.index] = new Undefined(() =>
          `there is no parent block called '${name}'.`
        );
      }
      enter(frame);
      execute(frame);
    };
    this.#blocks.set(name, block);
    if (node.isRequired) return () => fail(`Required block '${name}' not found`);
    if (!node.isScoped) {
      return ({ run, context, out }) => {
        run.nested(() => block(run, context, out));
      };
    }
    // Asked for when it runs: kept, the names of each such block would grow with their square.
    return (frame) => {
      const { run, context, out } = frame;
      const names: [string, Value][] = [];
      for (const [name, slot] of outer.symbols.visibleStores()) {
        run.makeEntries(1);
        const value = holderOf(slot, outer)(frame).slots[slot.index];
        if (value !== undefined) names.push([name, value]);
      }
      run.nested(() => block(run, context.with(run, names), out));
    };
  }
}

interface Recursion {
  readonly call: (items: Value, depth: number) => Str;
  readonly depth: number;
}

/** What a block writes, which Python joins as it is. */
function textFrom(what: string, value: Value): Str {
  return isStr(value) ? value : fail(`${what} must give str, not ${typeName(value)}`);
}

function notIterable(value: Value): never {
  fail(`'${typeName(value)}' object is not iterable`);
}

function hasScopedBlock(node: Statement): boolean {
  return [...walk(node)].some((child) => child.kind === "block" && child.isScoped);
}

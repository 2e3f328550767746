/**
 * Macros, and the bodies of call blocks, as functions.
 *
 * @module
 */
import { type Arguments, entriesOf } from "./arguments.ts";
import { fail, type Run } from "./run.ts";
import type { Str } from "./text.ts";
import { Dict, Thing, Tuple, Undefined, type Value } from "./values.ts";

/** What a macro takes. */
export interface MacroShape {
  /** null for the body of a call block. */
  readonly name: string | null;
  readonly parameters: readonly string[];
  /** Whether it reads `kwargs`, `varargs` and `caller`, which are not its parameters. */
  readonly catchKwargs: boolean;
  readonly catchVarargs: boolean;
  readonly caller: boolean;
}

/** The values that a macro's body begins with; undefined where a parameter's default is due. */
export interface MacroArguments {
  readonly values: readonly (Value | undefined)[];
  readonly caller: Value;
  readonly kwargs: Dict;
  readonly varargs: Tuple;
}

/** A macro, with the variables around it. */
export class Macro extends Thing {
  readonly typeName = "Macro";

  /** @param body renders it */
  constructor(
    readonly shape: MacroShape,
    readonly body: (run: Run, args: MacroArguments) => Str,
  ) {
    super();
  }

  override call(run: Run, args: Arguments): Value {
    return run.nested(() => this.body(run, this.#bind(args)));
  }

  #bind({ positional, named, names }: Arguments): MacroArguments {
    const { parameters, catchKwargs, catchVarargs } = this.shape;
    const name = this.shape.name === null ? "None" : `'${this.shape.name}'`;
    const left = new Map(named);
    const values: (Value | undefined)[] = positional.slice(0, parameters.length);
    let foundCaller = values.length === parameters.length && parameters.includes("caller");
    for (const parameter of parameters.slice(values.length)) {
      values.push(left.get(parameter));
      left.delete(parameter);
      if (parameter === "caller") foundCaller = true;
    }
    let caller: Value = null;
    if (this.shape.caller && !foundCaller) {
      caller = left.get("caller") ?? new Undefined(() => "No caller defined");
      left.delete("caller");
    }
    if (!catchKwargs && left.size > 0) {
      fail(
        left.has("caller")
          ? `macro ${name} was invoked with two values for the special caller argument`
          : `macro ${name} takes no keyword argument '${[...left.keys()][0]}'`,
      );
    }
    if (!catchVarargs && positional.length > parameters.length) {
      fail(`macro ${name} takes not more than ${parameters.length} argument(s)`);
    }
    return {
      values,
      caller,
      kwargs: new Dict(entriesOf(left, names)),
      varargs: new Tuple(positional.slice(parameters.length)),
    };
  }

  override attribute(_: Run, name: string): Value | undefined {
    const { shape } = this;
    switch (name) {
      case "name":
        return shape.name;
      case "arguments":
        return new Tuple(shape.parameters);
      case "catch_kwargs":
        return shape.catchKwargs;
      case "catch_varargs":
        return shape.catchVarargs;
      case "caller":
        return shape.caller;
      case "explicit_caller":
        return shape.parameters.includes("caller");
      default:
        return undefined;
    }
  }

  override repr(): string {
    return `<Macro ${this.shape.name === null ? "anonymous" : `'${this.shape.name}'`}>`;
  }
}

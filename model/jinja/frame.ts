/**
 * What a function of a template runs with.
 *
 * @module
 */
import type { FunctionScope } from "./scope.ts";
import type { Run } from "./run.ts";
import type { Str, Writer } from "./text.ts";
import type { Value } from "./values.ts";

/** Names from outside, and those that the template sets at its top. */
export class Context {
  readonly #globals: ReadonlyMap<string, Value>;
  readonly #variables: ReadonlyMap<string, Value>;
  readonly #set: Map<string, Value>;

  /** Variables hide globals, and what is set hides both. */
  constructor(
    globals: ReadonlyMap<string, Value>,
    variables: ReadonlyMap<string, Value>,
    set: Map<string, Value> = new Map(),
  ) {
    this.#globals = globals;
    this.#variables = variables;
    this.#set = set;
  }

  /** The value of a name; undefined where it has none. */
  resolve(name: string): Value | undefined {
    for (const names of [this.#set, this.#variables, this.#globals]) {
      const value = names.get(name);
      if (value !== undefined) return value;
    }
    return undefined;
  }

  /** Gives a name a value at the template's top. */
  set(name: string, value: Value): void {
    this.#set.set(name, value);
  }

  /** The same with more names: for a block that sees a loop's. */
  with(run: Run, names: readonly (readonly [string, Value])[]): Context {
    run.makeEntries(this.#set.size + names.length);
    return new Context(this.#globals, this.#variables, new Map([...this.#set, ...names]));
  }
}

/** A function while it runs: its variables, and where its output goes. */
export class Frame {
  /** undefined where a variable has no value. */
  readonly slots: (Value | undefined)[];
  /** What a block wrote that is filtered or set next. */
  captured: Str = "";

  /** @param parent the function in which it stands, with the variables that it sees */
  constructor(
    readonly run: Run,
    readonly context: Context,
    scope: FunctionScope,
    public out: Writer,
    readonly parent?: Frame,
  ) {
    run.makeItems(scope.slots);
    this.slots = Array<Value | undefined>(scope.slots).fill(undefined);
  }
}

/**
 * Where a statement stands while it is compiled.
 *
 * @module
 */
import { type ExpressionScope, holderOf } from "./compile_expression.ts";
import type { Frame } from "./frame.ts";
import type { Builtins } from "./run.ts";
import { type FunctionScope, Symbols } from "./scope.ts";

/** Where a statement stands. */
export class Scope implements ExpressionScope {
  isSoft = false;
  /** At the template's top, where names that are set are seen by blocks. */
  isTop = false;
  /** Inside a loop of the same function, which `break` can leave. */
  isInLoop = false;

  constructor(
    readonly symbols: Symbols,
    readonly owner: FunctionScope,
    readonly builtins: Builtins,
  ) {}

  /** A scope inside of this one, in the same function or in one of its own. */
  inner(scope: FunctionScope = this.owner): Scope {
    const inner = new Scope(new Symbols(scope, this.symbols), scope, this.builtins);
    inner.isInLoop = scope === this.owner && this.isInLoop;
    return inner;
  }

  /** The same in an `if`. */
  soft(): Scope {
    const soft = new Scope(this.symbols, this.owner, this.builtins);
    return Object.assign(soft, { isSoft: true, isTop: this.isTop, isInLoop: this.isInLoop });
  }
}

/** Gives a scope's variables what they begin with. */
export function enterScope(scope: Scope): (frame: Frame) => void {
  const loads = [...scope.symbols.loads].flatMap(([{ index }, load]) => {
    if (load.from === "parameter") return [];
    const holder = load.from === "outer" ? holderOf(load.slot, scope) : undefined;
    return [{ index, load, holder }];
  });
  return (frame) => {
    if (loads.length > 0) frame.run.spend(loads.length);
    for (const { index, load, holder } of loads) {
      frame.slots[index] = load.from === "outer"
        ? holder!(frame).slots[load.slot.index]
        : load.from === "context"
        ? frame.context.resolve(load.name)
        : undefined;
    }
  };
}

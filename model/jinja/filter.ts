/**
 * How a filter is written down: its parameters, and what it does.
 *
 * @module
 */
import { binder } from "./arguments.ts";
import type { Filter, Run } from "./run.ts";
import type { Value } from "./values.ts";

/** A filter whose arguments are taken in the order of its parameters. */
export function filter(
  name: string,
  parameters: string,
  apply: (run: Run, value: Value, args: Value[]) => Value,
): Filter {
  const bind = binder(name, parameters);
  return (run, value, args) => apply(run, value, bind(args));
}

/**
 * Arguments of calls, and how a function of ours takes them.
 *
 * @module
 */
import { fail } from "./run.ts";
import type { Str } from "./text.ts";
import { Float, type Value } from "./values.ts";

/** What a call hands over. */
export interface Arguments {
  readonly positional: readonly Value[];
  readonly named: ReadonlyMap<string, Value>;
  /** Names that came with a `**`, as they were written there. */
  readonly names?: ReadonlyMap<string, Str>;
}

/** Arguments by name, with names that know who wrote them. */
export function entriesOf(
  named: ReadonlyMap<string, Value>,
  names?: ReadonlyMap<string, Str>,
): [Str, Value][] {
  return [...named].map(([name, value]) => [names?.get(name) ?? name, value]);
}

/** None at all. */
export const NO_ARGUMENTS: Arguments = { positional: [], named: new Map() };

/** Takes a call's arguments in the order of a function's parameters. */
export type Binder = (args: Arguments) => Value[];

const DEFAULTS: Readonly<Record<string, Value>> = { None: null, True: true, False: false };

/**
 * Reads a parameter list as Python writes it: `sep=None, maxsplit=-1`. Those before a `/` cannot be
 * named. Defaults are None, True, False, numbers and texts in single quotes.
 *
 * @param name of the function, for messages
 */
export function binder(name: string, parameters: string): Binder {
  const [before = [], after] = parameters.split("/").map((some) =>
    [...some.matchAll(/[^\s,](?:'[^']*'|[^,])*/g)].map(([part]) => part)
  );
  const parts = [...before, ...after ?? []];
  const names = parts.map((part) => part.split("=")[0]!);
  const indexes = new Map(names.map((name, index) => [name, index]));
  const unnamed = after === undefined ? 0 : before.length;
  const defaults = parts.map((part) => {
    const text = /=(.*)$/s.exec(part)?.[1];
    if (text === undefined) return undefined;
    const value = DEFAULTS[text];
    if (value !== undefined) return value;
    if (text.startsWith("'")) return text.slice(1, -1);
    return text.includes(".") ? new Float(Number(text)) : Number(text);
  });
  const required = defaults.filter((value) => value === undefined).length;
  return ({ positional, named }) => {
    if (positional.length > names.length) {
      fail(`${name}() takes at most ${names.length} arguments: ${positional.length} are given`);
    }
    const values: (Value | undefined)[] = [...positional];
    for (const [key, value] of named) {
      const index = indexes.get(key);
      if (index === undefined || index < unnamed) {
        fail(`${name}() got an unexpected keyword argument '${key}'`);
      }
      if (values[index] !== undefined) fail(`${name}() got multiple values for argument '${key}'`);
      values[index] = value;
    }
    for (let i = 0; i < names.length; i++) {
      values[i] ??= values[i] === null ? null : defaults[i];
      if (values[i] === undefined) {
        fail(`${name}() missing argument '${names[i]}': it takes at least ${required}`);
      }
    }
    return values as Value[];
  };
}

/**
 * Flags and environment variables out of one table: `--max-model-len 2048`, `--max-model-len=2048`
 * and `HEARTH_MAX_MODEL_LEN=2048` say the same; a flag wins over a variable.
 *
 * @module
 */

/** One setting. Its name is the flag's, without the dashes. */
export type Flag =
  & { readonly help: string; readonly default?: string }
  & (
    | { readonly kind: "text"; readonly value: string }
    | { readonly kind: "texts"; readonly value: string }
    | {
      readonly kind: "integer";
      readonly value?: string;
      readonly min: number;
      readonly max: number;
    }
    | { readonly kind: "bytes"; readonly min: number }
    | { readonly kind: "seconds"; readonly min: number; readonly max: number }
    | {
      readonly kind: "number";
      readonly value: string;
      readonly min: number;
      readonly max: number;
    }
    | { readonly kind: "choice"; readonly choices: readonly string[] }
    | { readonly kind: "pattern"; readonly value: string; readonly pattern: RegExp }
    | { readonly kind: "switch" }
    /** Said on the command line alone, as `--help` is. */
    | { readonly kind: "action" }
  );

/** What a flag of each kind becomes. */
type ValueOf<F extends Flag> = F extends { kind: "choice"; choices: readonly (infer C)[] } ? C
  : F["kind"] extends "texts" ? readonly string[]
  : F["kind"] extends "integer" | "bytes" | "seconds" | "number" ? number
  : F["kind"] extends "switch" | "action" ? boolean
  : string;

/** Values of those flags that were given. */
export type FlagValues<T extends Record<string, Flag>> = { [K in keyof T]?: ValueOf<T[K]> };

/** A command line or a variable that cannot be read: one line for the user. */
export class FlagError extends Error {
  override name = "FlagError";
}

/**
 * Reads a command line over the environment.
 *
 * @throws {FlagError} for an unknown flag (the nearest is named) and for a value that is not
 * allowed
 */
export function parseFlags<T extends Record<string, Flag>>(
  table: T,
  args: readonly string[],
  variable: (name: string) => string | undefined,
): FlagValues<T> {
  const values: Record<string, unknown> = {};
  for (const [name, flag] of Object.entries(table)) {
    const text = variable(variableOf(name));
    if (text === undefined || text === "" || flag.kind === "action") continue;
    const source = variableOf(name);
    values[name] = flag.kind === "switch"
      ? readSwitch(text, source)
      : flag.kind === "texts"
      ? text.split(",").map((part) => part.trim())
      : readValue(flag, text, source);
  }

  const fromLine = new Set<string>();
  const rest = [...args];
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    const { name, inline, negated } = splitArgument(table, arg);
    const flag = table[name]!;
    if (flag.kind === "action") {
      values[name] = true;
      continue;
    }
    if (flag.kind === "switch") {
      if (inline !== undefined && negated) {
        throw new FlagError(`Cannot read ${arg}: it takes no value`);
      }
      values[name] = inline === undefined ? !negated : readSwitch(inline, `--${name}`);
      continue;
    }
    const text = inline ?? rest.shift();
    if (text === undefined) throw new FlagError(`Cannot read --${name}: it needs a value`);
    if (text === "") throw refuse(`--${name}`, "must not be empty", "empty");
    if (flag.kind === "texts") {
      values[name] = [...(fromLine.has(name) ? values[name] as string[] : []), text];
    } else {
      values[name] = readValue(flag, text, `--${name}`);
    }
    fromLine.add(name);
  }
  return values as FlagValues<T>;
}

function splitArgument(table: Record<string, Flag>, arg: string) {
  const match = /^--([^=]+)(?:=(.*))?$/s.exec(arg);
  if (match === null) {
    throw new FlagError(`Cannot read ${JSON.stringify(arg)}: flags begin with --; see --help`);
  }
  const given = match[1]!.replaceAll("_", "-");
  const positive = given.replace(/^no-/, "");
  const negated = !Object.hasOwn(table, given) && table[positive]?.kind === "switch";
  const name = negated ? positive : given;
  if (!Object.hasOwn(table, name)) {
    // Never the opposite of what was meant.
    const names = given.startsWith("no-")
      ? Object.keys(table).filter((known) => table[known]!.kind === "switch")
        .map((known) => `no-${known}`)
      : Object.keys(table);
    throw new FlagError(`Unknown flag --${given}: did you mean --${nearest(given, names)}?`);
  }
  return { name, inline: match[2], negated };
}

/** `max-model-len` as `HEARTH_MAX_MODEL_LEN`. */
function variableOf(name: string): string {
  return `HEARTH_${name.toUpperCase().replaceAll("-", "_")}`;
}

function readSwitch(text: string, source: string): boolean {
  if (/^(1|true|yes|on)$/i.test(text)) return true;
  if (/^(0|false|no|off)$/i.test(text)) return false;
  throw refuse(source, "must be 1 or 0", text);
}

function readValue(flag: Flag, text: string, source: string): string | number {
  switch (flag.kind) {
    case "integer": {
      const { min, max } = flag;
      const value = /^-?\d+$/.test(text) ? Number(text) : NaN;
      if (value >= min && value <= max) return value;
      throw refuse(source, `must be an integer from ${min} to ${max}`, text);
    }
    case "seconds":
    case "number": {
      const { min, max } = flag;
      const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : NaN;
      if (value >= min && value <= max) return value;
      const what = flag.kind === "seconds" ? "seconds" : "a number";
      throw refuse(source, `must be ${what} from ${min} to ${max}`, text);
    }
    case "bytes": {
      const value = readBytes(text);
      if (value >= flag.min) return value;
      throw refuse(source, `must be at least ${flag.min} bytes, as in 512MiB or 2GiB`, text);
    }
    case "choice":
      if (flag.choices.includes(text)) return text;
      throw refuse(source, `must be ${flag.choices.join(", ")}`, text);
    case "pattern":
      if (flag.pattern.test(text)) return text;
      throw refuse(source, `must be ${flag.value}`, text);
    default:
      return text;
  }
}

/** Bytes with an optional unit, binary (KiB, or K) in every case; NaN for anything else. */
function readBytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?) ?(?:([KMGT])(?:i?B)?|B)?$/i.exec(text);
  if (match === null) return NaN;
  const power = match[2] === undefined ? 0 : "KMGT".indexOf(match[2].toUpperCase()) + 1;
  return Math.floor(Number(match[1]) * 1024 ** power);
}

function refuse(source: string, allowed: string, text: string): FlagError {
  return new FlagError(`Cannot read ${source}: it ${allowed}: current value is ${text}`);
}

/** The name that the fewest edits lead to. */
function nearest(given: string, names: readonly string[]): string {
  return names.map((name) => ({ name, edits: editDistance(given, name) }))
    .sort((a, b) => a.edits - b.edits)[0]!.name;
}

/** Levenshtein's distance: insertions, deletions and replacements of one character. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, j) => j);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const replaced = row[j - 1]! + (from[i - 1] === to[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[to.length]!;
}

/** The table as text, a flag a line. */
export function flagHelp(table: Record<string, Flag>): string {
  const rows = Object.entries(table).map(([name, flag]) => {
    const note = flag.default === undefined ? "" : ` [${flag.default}]`;
    return [`--${name}${usageOf(flag)}`, `${flag.help}${note}`] as const;
  });
  const width = Math.max(...rows.map(([usage]) => usage.length));
  return rows.map(([usage, help]) => `  ${usage.padEnd(width)}  ${help}`).join("\n");
}

function usageOf(flag: Flag): string {
  switch (flag.kind) {
    case "switch":
    case "action":
      return "";
    case "choice":
      return ` ${flag.choices.join("|")}`;
    case "bytes":
      return " BYTES";
    case "seconds":
      return " SECONDS";
    case "integer":
      return ` ${flag.value ?? "N"}`;
    default:
      return ` ${flag.value}`;
  }
}

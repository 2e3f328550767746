/**
 * Flags and environment variables out of a table: `--max-model-len 2048`, `--max-model-len=2048` and
 * `HEARTH_MAX_MODEL_LEN=2048` say the same; a flag wins over a variable.
 *
 * @module
 */
import { closestMatch } from "leven";
import { parseArgs } from "node:util";
import { boundsOf, describeField, type Field, type Fields, snakeCase } from "../../ffi/field.ts";

/** A command line or a variable that cannot be read: one line for the user. */
export class FlagError extends Error {
  override name = "FlagError";
}

/** `max-model-len` of `maxModelLen`. */
export function flagOf(name: string, { flag }: Field): string {
  return flag ?? snakeCase(name).replaceAll("_", "-");
}

/** `HEARTH_MAX_MODEL_LEN` of `max-model-len`. */
function variableOf(flag: string): string {
  return `HEARTH_${flag.toUpperCase().replaceAll("-", "_")}`;
}

/**
 * Reads a command line over the environment. Returns the values of those entries that were given, by
 * their names in the table.
 *
 * @throws {FlagError} for an unknown flag (the nearest is named) and for a value that is not
 * allowed
 */
export function parseFlags(
  fields: Fields,
  args: readonly string[],
  variable: (name: string) => string | undefined,
): Record<string, unknown> {
  const flags = new Map<string, { readonly name: string; readonly field: Field }>();
  const values: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(fields)) {
    if (field.flag === null) continue;
    const flag = flagOf(name, field);
    flags.set(flag, { name, field });
    const source = variableOf(flag);
    const text = variable(source);
    if (!text || field.kind === "action") continue;
    values[name] = field.kind === "texts"
      ? text.split(",").map((part) => readValue(field, part.trim(), source))
      : readValue(field, text, source);
  }

  const fromLine = new Set<string>();
  for (const { flag, isOn, text, arg } of splitLine(flags, args)) {
    const { name, field } = flags.get(flag)!;
    const source = `--${flag}`;
    if (field.kind === "action") values[name] = true;
    else if (field.kind === "switch" && text === undefined) values[name] = isOn;
    else if (!isOn) throw new FlagError(`Cannot read ${arg}: it takes no value`);
    else if (text === undefined) throw new FlagError(`Cannot read ${source}: it needs a value`);
    else if (text === "") throw refuse(source, "must not be empty", "empty");
    else if (field.kind === "texts") {
      const before = fromLine.has(name) ? values[name] as unknown[] : [];
      values[name] = [...before, readValue(field, text, source)];
    } else values[name] = readValue(field, text, source);
    fromLine.add(name);
  }
  return values;
}

/** The flags of a command line, each with its text; `isOn` is false after `--no-`. */
function* splitLine(
  flags: ReadonlyMap<string, { readonly field: Field }>,
  args: readonly string[],
) {
  const isSwitch = (flag: string) => flags.get(flag)?.field.kind === "switch";
  const takesText = [...flags].filter(([, { field: { kind } }]) =>
    kind !== "switch" && kind !== "action"
  );
  const { tokens } = parseArgs({
    args: args.map((arg) => arg.replace(/^--[^=]+/, (flag) => flag.replaceAll("_", "-"))),
    options: Object.fromEntries(takesText.map(([flag]) => [flag, { type: "string" }])),
    strict: false,
    tokens: true,
  });
  for (const token of tokens) {
    const arg = args[token.index]!;
    if (token.kind !== "option" || !token.rawName.startsWith("--")) {
      throw new FlagError(`Cannot read ${JSON.stringify(arg)}: flags begin with --; see --help`);
    }
    const positive = token.name.replace(/^no-/, "");
    const isOn = flags.has(token.name) || !isSwitch(positive);
    const flag = isOn ? token.name : positive;
    if (!flags.has(flag)) {
      // Never the opposite of what was meant.
      const known = flag.startsWith("no-")
        ? [...flags.keys()].filter(isSwitch).map((name) => `no-${name}`)
        : [...flags.keys()];
      throw new FlagError(`Unknown flag --${flag}: did you mean --${closestMatch(flag, known)}?`);
    }
    yield { flag, isOn, text: token.value, arg };
  }
}

function readValue(field: Field, text: string, source: string): unknown {
  switch (field.kind) {
    case "integer": {
      const { min, max } = boundsOf(field);
      const value = /^-?\d+$/.test(text) ? Number(text) : NaN;
      if (value >= min! && value <= max!) return value;
      throw refuse(source, `must be an integer from ${min} to ${max}`, text);
    }
    case "share":
      return readNumber(text, source, { min: 0.01, max: 1, what: "a number" });
    case "seconds":
      return readNumber(text, source, { ...field, what: "seconds" });
    case "bytes": {
      const value = readBytes(text);
      if (value >= field.min) return value;
      throw refuse(source, `must be at least ${field.min} bytes, as in 512MiB or 2GiB`, text);
    }
    case "choice": {
      const value = field.choices.find((choice) => String(choice) === text);
      if (value !== undefined) return value;
      throw refuse(source, `must be ${field.choices.join(", ")}`, text);
    }
    case "name":
      if (field.pattern.test(text)) return text;
      throw refuse(source, `must be ${field.forms.join("|")}`, text);
    case "switch":
      if (/^(1|true|yes|on)$/i.test(text)) return true;
      if (/^(0|false|no|off)$/i.test(text)) return false;
      throw refuse(source, "must be 1 or 0", text);
    case "texts": {
      const { pattern, rule, secret } = field.each ?? {};
      if (pattern?.test(text) ?? true) return text;
      const shown = secret ? "" : `: current value is ${text}`;
      throw new FlagError(`Cannot read ${source}: ${rule}${shown}`);
    }
    case "text":
      return text;
    default:
      throw new Error(`Cannot read ${source}: flags hold no ${field.kind}`);
  }
}

function readNumber(
  text: string,
  source: string,
  { min, max, what }: { readonly min: number; readonly max: number; readonly what: string },
): number {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : NaN;
  if (value >= min && value <= max) return value;
  throw refuse(source, `must be ${what} from ${min} to ${max}`, text);
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

/** How each flag is written, and what it says. */
export function flagRows(fields: Fields): (readonly [usage: string, text: string])[] {
  const rename = (name: string) => `--${flagOf(name, fields[name]!)}`;
  return Object.entries(fields).filter(([, { flag }]) => flag !== null).map(([name, field]) => {
    const isOn = field.default === true;
    const text = field.kind === "action" ? field.doc : describeField(
      field.kind === "switch" ? { ...field, shown: isOn ? "on" : "off" } : field,
      rename,
    );
    return [`--${isOn ? "[no-]" : ""}${flagOf(name, field)}${usageOf(field)}`, text];
  });
}

function usageOf(field: Field): string {
  switch (field.kind) {
    case "switch":
    case "action":
      return "";
    case "choice":
      return ` ${field.choices.join("|")}`;
    case "name":
      return ` ${field.forms.join("|")}`;
    case "integer":
      return " N";
    case "text":
    case "texts":
      return ` ${field.value ?? "TEXT"}`;
    default:
      return ` ${field.kind.toUpperCase()}`;
  }
}

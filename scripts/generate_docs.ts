/**
 * Writes what the tables of options and fields say into the interfaces and lists that stand elsewhere,
 * between marks there. With `--check` it only says whether they are up to date.
 *
 * @module
 */
import { CONVERSATION_FIELDS } from "../engine/conversation/fields.ts";
import { ENGINE_OPTIONS } from "../ffi/engine_options.ts";
import { boundsOf, describeField, type Field, type Fields } from "../ffi/field.ts";
import { SAMPLING_FIELDS, WHOLE_REQUEST_FIELDS } from "../ffi/request_fields.ts";
import { INSTANCE_OPTIONS, PROCESS_OPTIONS } from "../functions/server/server_options.ts";
import { settingsRows } from "../functions/server/settings.ts";
import { format, writeGenerated } from "./generated.ts";

/** An interface that is made of a table, between marks that name it. */
interface Made {
  readonly path: string;
  readonly fields: Fields;
  /** Defaults are filled in; else every member is optional. */
  readonly isComplete?: boolean;
}

const INTERFACES: Readonly<Record<string, Made>> = {
  ENGINE_OPTIONS: { path: "ffi/types.ts", fields: ENGINE_OPTIONS },
  SAMPLING_FIELDS: { path: "engine/types.ts", fields: SAMPLING_FIELDS },
  WHOLE_REQUEST_FIELDS: { path: "engine/types.ts", fields: WHOLE_REQUEST_FIELDS },
  CONVERSATION_FIELDS: {
    path: "engine/conversation/types.ts",
    fields: CONVERSATION_FIELDS,
  },
  INSTANCE_OPTIONS: {
    path: "functions/server/instance.ts",
    fields: INSTANCE_OPTIONS,
    isComplete: true,
  },
  PROCESS_OPTIONS: {
    path: "functions/server/settings.ts",
    fields: PROCESS_OPTIONS,
    isComplete: true,
  },
};

function membersOf({ fields, isComplete = false }: Made): string {
  return Object.entries(fields).map(([name, field]) => {
    const isOptional = !isComplete || field.default === undefined;
    const member = `readonly ${name}${isOptional ? "?" : ""}: ${typeOf(field)};`;
    return `${commentOf(docOf(field))}\n${member}`;
  }).join("\n");
}

/** In lines of 100 characters. */
function commentOf(text: string): string {
  if (text.length <= 91) return `/** ${text} */`;
  const lines = text.match(/.{1,93}(?: |$)/g)!.map((line) => ` * ${line.trimEnd()}`);
  return `/**\n${lines.join("\n")}\n */`;
}

/** `Text; bounds. [default]` */
function docOf(field: Field): string {
  const doc = `${[field.doc, ...rangeOf(field)].join("; ")}.`;
  return describeField({ ...field, doc }, (name) => `\`${name}\``);
}

function rangeOf(field: Field): string[] {
  if (field.kind === "share") return ["above 0, at most 1"];
  if (field.kind === "choice" && typeof field.choices[0] === "number") {
    return [field.choices.join(", ").replace(/, (\d+)$/, " or $1")];
  }
  if (field.kind !== "number" && field.kind !== "integer") return [];
  const { min, above, max } = boundsOf(field);
  const hasMost = max !== undefined && max < 0xffff_ffff;
  if (above !== undefined) return [`above ${above}${hasMost ? `, at most ${max}` : ""}`];
  return hasMost ? [`from ${min} to ${max}`] : [];
}

function typeOf(field: Field): string {
  switch (field.kind) {
    case "number":
    case "integer":
    case "bytes":
    case "seconds":
    case "share":
      return "number";
    case "choice":
      return typeof field.choices[0] === "number"
        ? "number"
        : field.choices.map((choice) => `"${choice}"`).join(" | ");
    case "name":
      return field.forms.map((form) =>
        form.endsWith("N") ? `\`${form.slice(0, -1)}\${number}\`` : `"${form}"`
      ).join(" | ");
    case "switch":
    case "action":
      return "boolean";
    case "text":
      return "string";
    case "texts":
      return "readonly string[]";
    case "seed":
      return "number | bigint";
    case "tokens":
      return "readonly number[]";
    case "words":
      return "readonly (readonly number[])[]";
    case "biases":
      return "ReadonlyMap<number, number>";
    case "object":
      return "Readonly<Record<string, unknown>>";
    case "objects":
      return "readonly Readonly<Record<string, unknown>>[]";
  }
}

function flagTable(): string {
  const rows = settingsRows().map(([usage, text]) =>
    `| \`${usage.replaceAll("|", "\\|")}\` | ${text.replaceAll(/--[\w-]+/g, "`$&`")} |`
  );
  return ["", "| flag | what it says [default] |", "| --- | --- |", ...rows, ""].join("\n");
}

async function generate(): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  const write = async (path: string, [begin, end]: readonly [string, string], content: string) => {
    const text = files.get(path) ??
      await Deno.readTextFile(new URL(`../${path}`, import.meta.url));
    const start = text.indexOf(`${begin}\n`);
    const stop = text.indexOf(end, start);
    if (start < 0 || stop < 0) throw new Error(`Cannot find ${begin} and ${end} in ${path}`);
    const made = `${text.slice(0, start)}${begin}\n${content}\n${text.slice(stop)}`;
    files.set(path, await format(made, path.endsWith(".md") ? "md" : "ts"));
  };
  for (const [name, made] of Object.entries(INTERFACES)) {
    await write(made.path, [`// #region ${name}`, "// #endregion"], membersOf(made));
  }
  await write("README.md", ["<!-- flags -->", "<!-- /flags -->"], flagTable());
  return files;
}

if (import.meta.main) {
  await writeGenerated(await generate(), {
    source: "the tables of options and fields",
    task: "docs",
  });
}

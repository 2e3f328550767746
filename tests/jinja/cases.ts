/**
 * What is compared with jinja2: real templates over conversations, and snippets.
 *
 * @module
 */
import { TemplateError } from "../../model/jinja/run.ts";
import { Template, type TextSpan } from "../../model/jinja/template.ts";
import { fromJson, type Value } from "../../model/jinja/values.ts";

/** A template and what it is given. */
export interface Case {
  /** For people. */
  readonly name: string;
  readonly template: string;
  readonly variables: Readonly<Record<string, unknown>>;
}

/** A text, or why there is none. */
export interface Outcome {
  readonly text?: string;
  readonly refused?: string;
  /** Which characters of ours came with the variables. */
  readonly spans?: readonly TextSpan[];
}

/** Where `deno task jinja` leaves the packages' templates. */
export const TEMPLATES = ".tools/jinja/templates";

/** The reference's clock. */
const NOW = new Date(2026, 10, 29, 15, 4, 5);

const BUDGET = { steps: 3_000_000, characters: 30_000_000, milliseconds: Infinity };

/** Templates that were parsed, by their text. */
const parsed = new Map<string, Template>();

/** What our templates make of a case. */
export function render({ template, variables }: Pick<Case, "template" | "variables">): Outcome {
  const values = Object.entries(variables).map(([name, value]): [string, Value] => [
    name,
    fromJson(value, "caller"),
  ]);
  try {
    const compiled = parsed.get(template) ?? new Template(template);
    parsed.set(template, compiled);
    return compiled.render(new Map(values), { budget: BUDGET, now: NOW });
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    return { refused: error.message };
  }
}

/** Whether two outcomes are the same: refusals are, whatever their words. */
export function isSame(a: Outcome, b: Outcome): boolean {
  return a.text === b.text;
}

/** Names of the packages' templates, `package/name.jinja`, in order; none where they are not there. */
export function templateNames(): string[] {
  const names: string[] = [];
  try {
    for (const { name: folder, isDirectory } of Deno.readDirSync(TEMPLATES)) {
      if (!isDirectory) continue;
      for (const { name } of Deno.readDirSync(`${TEMPLATES}/${folder}`)) {
        names.push(`${folder}/${name}`);
      }
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return names.sort();
}

/** The cases of one template: each conversation without tools and with them. */
export function casesOf(name: string): Case[] {
  const template = Deno.readTextFileSync(`${TEMPLATES}/${name}`);
  const file = new URL("conversations.json", import.meta.url);
  const { tools, conversations } = JSON.parse(Deno.readTextFileSync(file));
  return Object.entries(conversations).flatMap(([conversation, messages]) =>
    [null, tools].map((tools): Case => ({
      name: `${name} ${conversation}${tools === null ? "" : " with tools"}`,
      template,
      variables: {
        messages,
        tools,
        documents: null,
        add_generation_prompt: conversation !== "prefill",
        bos_token: "<s>",
        eos_token: "</s>",
      },
    }))
  );
}

/** 64 bits of an outcome, or that there is none. */
export async function digestOf({ text }: Outcome): Promise<string> {
  if (text === undefined) return "refused";
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return new Uint8Array(hash).slice(0, 8).toHex();
}

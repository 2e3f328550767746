/**
 * Tables of templates with a $, and what comes out with each value in its place.
 *
 * @module
 */
import { Run } from "../../model/jinja/run.ts";
import { type Outcome, render } from "./cases.ts";

/** The templates with one $. */
export interface Table {
  /** By what is put in place of the $: the text that jinja2 makes, and we. */
  readonly texts: Readonly<Record<string, string>>;
  /** By our words, which jinja2 has others for: what is refused with them. */
  readonly refused: Readonly<Record<string, readonly string[]>>;
  /** What is refused though jinja2 renders it. */
  readonly stricter: Readonly<Record<string, readonly string[]>>;
  readonly use: Use;
}

/** What rendering a table takes, of all its values together. */
export interface Use {
  readonly steps: number;
  readonly characters: number;
  /** Of what callers wrote in the texts: how many parts, how many characters, the sum of their offsets. */
  readonly spans: readonly [count: number, characters: number, offsets: number];
}

/** What `tables.py` prints: texts, or null for a refusal. */
export type Outcomes = Readonly<Record<string, Readonly<Record<string, string | null>>>>;

/** The template with a value in place of its $. */
export function filledIn(template: string, value: string): string {
  return template.replaceAll("$", () => value);
}

/** A table of jinja2's outcomes with our words; `differs` hears of each text that we make otherwise. */
export function tableOf(
  template: string,
  outcomes: Outcomes[string],
  variables: Readonly<Record<string, unknown>>,
  differs: (template: string, expected: string | null, ours: Outcome) => void,
): Table {
  const texts: Record<string, string> = {};
  const refused: Record<string, string[]> = {};
  const stricter: Record<string, string[]> = {};
  const [ours, use] = renderAll(template, Object.keys(outcomes), variables);
  for (const [value, { text, refused: words }] of ours) {
    const expected = outcomes[value]!;
    if (words !== undefined) {
      ((expected === null ? refused : stricter)[words] ??= []).push(value);
    } else if (text === expected) texts[value] = text!;
    else differs(filledIn(template, value), expected, { text: text! });
  }
  return { texts, refused, stricter, use };
}

/** What comes out of a template with each of these in place of its $, and what that takes. */
export function renderAll(
  template: string,
  values: readonly string[],
  variables: Readonly<Record<string, unknown>>,
): [outcomes: Map<string, Outcome>, use: Use] {
  const outcomes = new Map<string, Outcome>();
  const spans: [number, number, number] = [0, 0, 0];
  const { steps, characters } = metered(() => {
    for (const value of values) {
      const ours = render({ template: filledIn(template, value), variables });
      outcomes.set(value, ours);
      for (const { start, end } of ours.spans ?? []) {
        spans[0]++;
        spans[1] += end - start;
        spans[2] += start;
      }
    }
  });
  return [outcomes, { steps, characters, spans }];
}

/** Sums of what is refused stay exact. */
const HUGE = 1e9;

/** What renderings are billed while an action runs. */
function metered(action: () => void): { steps: number; characters: number } {
  const { spend, make } = Run.prototype;
  let [steps, characters] = [0, 0];
  Run.prototype.spend = function (count) {
    steps += Math.min(count, HUGE);
    spend.call(this, count);
  };
  Run.prototype.make = function (size) {
    characters += Math.min(size, HUGE);
    make.call(this, size);
  };
  try {
    action();
  } finally {
    Object.assign(Run.prototype, { spend, make });
  }
  return { steps, characters };
}

/** As JSON with a line for each text and each message. */
export function tablesText(tables: Readonly<Record<string, Table>>): string {
  const lines = (entries: object) =>
    Object.entries(entries).map(([key, value]) =>
      `\n   ${JSON.stringify(key)}: ${JSON.stringify(value)}`
    ).join(",");
  const blocks = Object.entries(tables).map(([template, { texts, refused, stricter, use }]) =>
    `\n ${JSON.stringify(template)}: {\n  "texts": {${lines(texts)}},\n` +
    `  "refused": {${lines(refused)}},\n  "stricter": {${lines(stricter)}},\n` +
    `  "use": ${JSON.stringify(use)}\n }`
  );
  return `{${blocks.join(",")}\n}\n`;
}

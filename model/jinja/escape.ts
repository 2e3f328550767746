/**
 * HTML's special characters, as markupsafe escapes them.
 *
 * @module
 */
import { SPACE } from "./characters.ts";
import { toText } from "./printing.ts";
import { fail, type Run } from "./run.ts";
import { isMarkup, mapped, marked, type Str, type Text, unmarked } from "./text.ts";
import type { Value } from "./values.ts";

const SPACES = new RegExp(`[${SPACE}]+`);

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  "'": "&#39;",
  '"': "&#34;",
};

/** Markup of a value; what is markup stays as it is. */
export function escape(run: Run, value: Value): Text {
  return isMarkup(value) ? value : marked(forceEscape(run, value));
}

/** Markup of a value, its entities escaped once more where it was markup. */
export function forceEscape(run: Run, value: Value): Text {
  return marked(
    mapped(run, toText(run, value), (text) => text.replace(/[&<>'"]/g, (unit) => ENTITIES[unit]!)),
  );
}

const NAMED: Readonly<Record<string, string>> = {
  amp: "&",
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
  nbsp: "\xa0",
};

/** The text without comments and tags, its white space as single spaces, its entities as characters. */
export function stripTags(run: Run, value: Str): Str {
  return mapped(run, unmarked(value), (text) => {
    const bare = withoutTags(withoutComments(text));
    const spaced = bare.split(SPACES).filter((word) => word !== "").join(" ");
    return spaced.replace(
      /&(?:#(\d{1,7});?|#[xX]([\da-fA-F]{1,6});?|([A-Za-z][A-Za-z0-9]*;?))/g,
      entity,
    );
  });
}

function withoutComments(text: string): string {
  let result = "";
  for (let at = 0;;) {
    const start = text.indexOf("<!--", at);
    const end = start < 0 ? -1 : text.indexOf("-->", start);
    if (end < 0) return result + text.slice(at);
    result += text.slice(at, start);
    at = end + 3;
  }
}

function withoutTags(text: string): string {
  let result = "";
  for (let at = 0;;) {
    const start = text.indexOf("<", at);
    const end = start < 0 ? -1 : text.indexOf(">", start);
    if (end < 0) return result + text.slice(at);
    result += text.slice(at, start);
    at = end + 1;
  }
}

function entity(all: string, decimal?: string, hex?: string, name?: string): string {
  if (name !== undefined) {
    const character = NAMED[name.replace(";", "")];
    return character !== undefined && name.endsWith(";")
      ? character
      : fail(`the filter striptags does not know the entity ${all}`);
  }
  const code = decimal === undefined ? parseInt(hex!, 16) : Number(decimal);
  return code >= 0xa0 && code <= 0x10ffff || code >= 0x20 && code < 0x7f
    ? String.fromCodePoint(code)
    : fail(`the filter striptags does not know the entity ${all}`);
}

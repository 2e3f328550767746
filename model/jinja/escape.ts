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

const SPACES = new RegExp(`[${SPACE}]+`, "g");

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

const NAMED: ReadonlyMap<string, string> = new Map([
  ["amp", "&"],
  ["lt", "<"],
  ["gt", ">"],
  ["quot", '"'],
  ["apos", "'"],
  ["nbsp", "\xa0"],
]);

/** Names that are entities without a semicolon too, and begin longer words. */
const LEGACY =
  /^(?:AElig|AMP|COPY|ETH|GT|LT|QUOT|REG|THORN|szlig|thorn|times|divide|aelig|eth|amp|copy|gt|lt|quot|reg|brvbar|cedil|cent|curren|deg|frac(?:12|14|34)|iexcl|iquest|laquo|macr|micro|middot|nbsp|not|ordf|ordm|para|plusmn|pound|raquo|sect|shy|sup[123]|yen|acute|uml|[AEIOUYaeiouy](?:acute|circ|grave|uml)|[ANOano]tilde|[Aa]ring|[Cc]cedil|[Oo]slash)/;

/** The text without comments and tags, its white space as single spaces, its entities as characters. */
export function stripTags(run: Run, value: Str): Str {
  return mapped(run, unmarked(value), (text) => {
    const spaced = withoutTags(text).replace(SPACES, " ").replace(/^ | $/g, "");
    return spaced.replace(
      /&(?:#(\d{1,7});?|#[xX]([\da-fA-F]{1,6});?|([A-Za-z][A-Za-z0-9]*;?))/g,
      entity,
    );
  });
}

/** Up to the first comment or tag that nobody closes. */
function withoutTags(text: string): string {
  let result = "";
  let at = 0;
  while (true) {
    const start = text.indexOf("<", at);
    if (start < 0) break;
    const isComment = text.startsWith("<!--", start);
    const close = isComment ? "-->" : ">";
    const end = text.indexOf(close, isComment ? start + 4 : start);
    if (end < 0) break;
    result += text.slice(at, start);
    at = end + close.length;
  }
  return result + text.slice(at);
}

function entity(all: string, decimal?: string, hex?: string, name?: string): string {
  if (name !== undefined) {
    const character = NAMED.get(name.replace(";", ""));
    if (character !== undefined && (name.endsWith(";") || name !== "apos")) return character;
    return name.endsWith(";") || LEGACY.test(name) ? unknownEntity(all) : all;
  }
  const code = decimal === undefined ? parseInt(hex!, 16) : Number(decimal);
  const character = code <= 0x10ffff ? String.fromCodePoint(code) : "";
  return /^[^\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}]$/u.test(character)
    ? character
    : unknownEntity(all);
}

function unknownEntity(name: string): never {
  fail(`the entity ${name} is not supported by the filter striptags`);
}

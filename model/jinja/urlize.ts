/**
 * The filter `urlize`: addresses in a text as HTML links, found with jinja2's own patterns.
 *
 * @module
 */
import { SPACE } from "./characters.ts";
import { escape } from "./escape.ts";
import { fail, type Run } from "./run.ts";
import { countPoints, madeOf, offsetOf, plain, type Str } from "./text.ts";
import type { Value } from "./values.ts";

/** What links are made with. */
export interface LinkOptions {
  /** Characters that a link shows at most; undefined for all. */
  readonly limit: number | undefined;
  readonly rel: string;
  readonly target: string;
  /** What `rel` and `target` are made of. */
  readonly madeOf: readonly Str[];
  /** Beginnings of addresses beside http and mailto. */
  readonly schemes: readonly string[];
}

/** The patterns take time that grows with the square of a word. */
const MAX_WORD = 2048;

const WORD_CHARACTER = "\\p{L}\\p{N}_";
const HTTP = new RegExp(
  `^((https?://|www\\.)(([${WORD_CHARACTER}%-]+\\.)+)?([a-z]{2,63}|xn--[${WORD_CHARACTER}%]{2,59})` +
    `|([${WORD_CHARACTER}%-]{2,63}\\.)+(com|net|int|edu|gov|org|info|mil)` +
    "|(https?://)((([0-9]{1,3})(\\.[0-9]{1,3}){3})|(\\[([0-9a-f]{0,4}:){2}([0-9a-f]{0,4}:?){1,6}\\])))" +
    `(?::[0-9]{1,5})?(?:[/?#][^${SPACE}]*)?$`,
  "iu",
);
const EMAIL = new RegExp(
  `^[^${SPACE}]+@[${WORD_CHARACTER}][${WORD_CHARACTER}.-]*\\.[${WORD_CHARACTER}]+$`,
  "u",
);
const WHITE = new RegExp(`([${SPACE}]+)`, "u");

/** The text, its special characters escaped, its addresses as links. */
export function urlize(run: Run, value: Value, options: LinkOptions): Str {
  const text = escape(run, value);
  run.read(text.text);
  const attributes = ([name, content]: [string, string]) =>
    content === "" ? "" : ` ${name}="${plain(escape(run, content))}"`;
  const extra = attributes(["rel", options.rel]) + attributes(["target", options.target]);
  let result = "";
  for (const word of text.text.split(WHITE)) {
    if (word.length > MAX_WORD) fail("words beyond 2,048 characters are not supported by urlize");
    run.make(8 * word.length + extra.length);
    run.spend(word.length ** 2 >> 8);
    result += linked(word, extra, options);
  }
  return madeOf(result, text, ...options.madeOf);
}

function linked(word: string, extra: string, { limit, schemes }: LinkOptions): string {
  const head = /^(?:[(<]|&lt;)+/.exec(word)?.[0] ?? "";
  let middle = word.slice(head.length);
  let tail = /(?:[)>.,\n]|&gt;)+$/.exec(middle)?.[0] ?? "";
  middle = middle.slice(0, middle.length - tail.length);
  for (const [open, close] of [["(", ")"], ["<", ">"], ["&lt;", "&gt;"]] as const) {
    const missing = occurrences(middle, open) - occurrences(middle, close);
    if (missing <= 0) continue;
    // What closes a bracket of the address belongs to it, with what stands before.
    for (
      let left = Math.min(occurrences(middle, open), occurrences(tail, close));
      left > 0;
      left--
    ) {
      const end = tail.indexOf(close) + close.length;
      middle += tail.slice(0, end);
      tail = tail.slice(end);
    }
  }
  const shown = limit !== undefined && countPoints(middle) > limit
    ? `${middle.slice(0, offsetOf(middle, limit))}...`
    : middle;
  const link = (address: string, text: string, more: string) =>
    `<a href="${address}"${more}>${text}</a>`;
  if (HTTP.test(middle)) {
    middle = link(/^https?:\/\//.test(middle) ? middle : `https://${middle}`, shown, extra);
  } else if (middle.startsWith("mailto:") && EMAIL.test(middle.slice(7))) {
    middle = link(middle, middle.slice(7), "");
  } else if (!/^www\.|^@|:/.test(middle) && EMAIL.test(middle)) {
    middle = link(`mailto:${middle}`, middle, "");
  } else {
    for (const scheme of schemes) {
      if (middle !== scheme && middle.startsWith(scheme)) middle = link(middle, middle, extra);
    }
  }
  return head + middle + tail;
}

function occurrences(text: string, part: string): number {
  return text.split(part).length - 1;
}

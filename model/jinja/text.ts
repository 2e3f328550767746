/**
 * Strings that know which of their characters come from whom.
 *
 * What a template writes is a JavaScript string. What came from outside, or has a part that did, is a
 * {@linkcode Text} with spans. All that cuts, joins and changes strings does so through this file, so
 * that spans are followed through every filter and method.
 *
 * @module
 */
import type { Run } from "./run.ts";

/** Who wrote characters: a caller, or an assistant in a turn that a caller hands back. */
export type TextOrigin = "caller" | "assistant";

/** Characters of a text that have one origin. */
export interface TextSpan {
  /** UTF-16 offset of the first. */
  readonly start: number;
  /** UTF-16 offset behind the last. */
  readonly end: number;
  /** Who wrote them. */
  readonly origin: TextOrigin;
}

/** Characters of which some come from outside, or that are marked as safe HTML. */
export class Text {
  /**
   * @param text the characters
   * @param spans those from outside, in order, none empty, none overlapping
   * @param isMarkup markupsafe's `Markup`: joined to it, other strings are escaped
   */
  constructor(
    readonly text: string,
    readonly spans: readonly TextSpan[],
    readonly isMarkup: boolean = false,
  ) {}
}

/** A template's string. */
export type Str = string | Text;

/** A span takes as much memory as so many characters, */
const SPAN_SIZE = 32;
/** and a string cut out of another, with its own span. */
export const PIECE_SIZE = 100;

const NO_SPANS: readonly TextSpan[] = [];

/** Whether a value is a string. */
export function isStr(value: unknown): value is Str {
  return typeof value === "string" || value instanceof Text;
}

/** The characters alone. */
export function plain(value: Str): string {
  return typeof value === "string" ? value : value.text;
}

/** A string of an origin as a whole. */
export function from(text: string, origin: TextOrigin): Str {
  return text === "" ? text : new Text(text, [{ start: 0, end: text.length, origin }]);
}

function withSpans(text: string, spans: readonly TextSpan[]): Str {
  return spans.length === 0 ? text : new Text(text, spans);
}

/** Characters from `start` to before `end`, in UTF-16 offsets; never markup. */
export function cut(value: Str, start: number, end: number): Str {
  if (typeof value === "string") return value.slice(start, end);
  if (start === 0 && end === value.text.length) return unmarked(value);
  if (start >= end) return "";
  const spans: TextSpan[] = [];
  for (let i = firstSpan(value.spans, start); i < value.spans.length; i++) {
    const span = value.spans[i]!;
    if (span.start >= end) break;
    spans.push({
      start: Math.max(span.start, start) - start,
      end: Math.min(span.end, end) - start,
      origin: span.origin,
    });
  }
  return withSpans(value.text.slice(start, end), spans);
}

/** The index of the first span that ends behind an offset. */
function firstSpan(spans: readonly TextSpan[], offset: number): number {
  let [low, high] = [0, spans.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (spans[middle]!.end <= offset) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Joins strings one behind the other; spans that touch and have one origin become one. Of two strings
 * that are joined the longer one is not copied, so that the shorter one is billed, and all spans.
 */
export class Writer {
  readonly #run: Run;
  #text = "";
  #spans: TextSpan[] | undefined;

  /** Nothing is written yet. */
  constructor(run: Run) {
    this.#run = run;
  }

  /** @returns itself, for the next */
  write(value: Str): this {
    if (typeof value === "string") {
      this.#run.make(Math.min(this.#text.length, value.length));
      this.#text += value;
      return this;
    }
    this.#run.make(Math.min(this.#text.length, value.text.length) + SPAN_SIZE * value.spans.length);
    const offset = this.#text.length;
    const spans = this.#spans ??= [];
    for (const { start, end, origin } of value.spans) {
      const last = spans.at(-1);
      if (last?.end === offset + start && last.origin === origin) {
        spans[spans.length - 1] = { ...last, end: offset + end };
      } else spans.push({ start: offset + start, end: offset + end, origin });
    }
    this.#text += value.text;
    return this;
  }

  /** What was written. */
  finish(): Str {
    return withSpans(this.#text, this.#spans ?? NO_SPANS);
  }
}

/** The strings one behind the other, with something between; never markup. */
export function join(run: Run, values: readonly Str[], between: Str = ""): Str {
  const writer = new Writer(run);
  for (const [i, value] of values.entries()) {
    if (i > 0) writer.write(between);
    writer.write(value);
  }
  return writer.finish();
}

/** Where it comes from as a whole: an origin that any part has, or none. */
function originOf(value: Str): TextOrigin | undefined {
  return typeof value === "string" ? undefined : value.spans[0]?.origin;
}

/**
 * Other characters in place of these. Where they are as many, each is taken to stand for the one that
 * was there; otherwise all come from where any came.
 */
export function mapped(run: Run, value: Str, map: (text: string) => string): Str {
  run.make(plain(value).length);
  const text = map(plain(value));
  run.make(Math.max(0, text.length - plain(value).length));
  if (typeof value === "string") return text;
  if (text.length === value.text.length) return withSpans(text, value.spans);
  const origin = originOf(value);
  return origin === undefined ? text : from(text, origin);
}

/** `text`, made of these values: from where any of them came. */
export function madeOf(text: string, ...values: readonly Str[]): Str {
  for (const value of values) {
    const origin = originOf(value);
    if (origin !== undefined) return from(text, origin);
  }
  return text;
}

/** The same characters, marked as safe HTML. */
export function marked(value: Str): Text {
  return new Text(plain(value), typeof value === "string" ? NO_SPANS : value.spans, true);
}

/** The same characters, not marked. */
export function unmarked(value: Str): Str {
  return typeof value === "string" || !value.isMarkup ? value : withSpans(value.text, value.spans);
}

/** Whether it is marked as safe HTML. */
export function isMarkup(value: unknown): value is Text {
  return value instanceof Text && value.isMarkup;
}

// --- Code points: what Python counts --------------------------------------------------------------

const SURROGATE = /[\ud800-\udfff]/;

/** The number of code points. */
export function countPoints(text: string): number {
  if (!SURROGATE.test(text)) return text.length;
  let count = 0;
  for (let at = 0; at < text.length; count++) at += widthAt(text, at);
  return count;
}

/** The UTF-16 offset of the code point of an index; the text's length beyond its end. */
export function offsetOf(text: string, index: number): number {
  if (!SURROGATE.test(text)) return Math.min(index, text.length);
  let at = 0;
  for (let left = index; left > 0 && at < text.length; left--) at += widthAt(text, at);
  return at;
}

/** The index of the code point at a UTF-16 offset. */
export function indexOf(text: string, offset: number): number {
  return countPoints(text.slice(0, offset));
}

/** UTF-16 units of the code point at an offset. */
export function widthAt(text: string, at: number): number {
  return text.codePointAt(at)! > 0xffff ? 2 : 1;
}

/** Each code point as a string of its own. */
export function* points(value: Str): Generator<Str> {
  const text = plain(value);
  for (let at = 0; at < text.length;) {
    const end = at + widthAt(text, at);
    yield cut(value, at, end);
    at = end;
  }
}

/** Python's order of strings: by code points, where JavaScript's is by UTF-16 units. */
export function compareTexts(a: string, b: string): number {
  if (a === b) return 0;
  if (!SURROGATE.test(a) && !SURROGATE.test(b)) return a < b ? -1 : 1;
  for (let at = 0;; at++) {
    const [left, right] = [a.codePointAt(at), b.codePointAt(at)];
    if (left === undefined || right === undefined) return left === right ? 0 : left ? 1 : -1;
    if (left !== right) return left - right;
    if (left > 0xffff) at++;
  }
}

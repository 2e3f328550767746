/**
 * Python's `textwrap.wrap` of one line, as the filter `wordwrap` uses it.
 *
 * @module
 */
import { CLASSES } from "./characters.ts";
import { fail, type Run } from "./run.ts";
import { countPoints, cut, join, offsetOf, PIECE_SIZE, plain, type Str } from "./text.ts";

/** How a line is wrapped. */
export interface WrapOptions {
  readonly width: number;
  readonly breakLongWords: boolean;
  readonly breakOnHyphens: boolean;
}

const SPACE = "[\\t-\\r ]";
const WORD_OR_POINT = "[\\p{L}\\p{N}_!\"'&.,?]";
const LETTER = "[\\p{L}\\p{No}\\p{Nl}_]";

/** White space, dashes between words, and words, which end behind a hyphen too. */
const CHUNK = new RegExp(
  `(${SPACE}+|(?<=${WORD_OR_POINT})-{2,}(?=[\\p{L}\\p{N}_])|[^\\t-\\r ]+?(?:` +
    `-(?:(?<=${LETTER}{2}-)|(?<=${LETTER}-${WORD_OR_POINT}-))(?=${LETTER}-?${LETTER})` +
    `|(?=${SPACE}|$)|(?<=${WORD_OR_POINT})(?=-{2,}[\\p{L}\\p{N}_])))`,
  "gu",
);
const SIMPLE_CHUNK = new RegExp(`(${SPACE}+)`, "gu");

/** The line in pieces that are at most so wide. */
export function wrapLine(run: Run, line: Str, options: WrapOptions): Str[] {
  const { width, breakLongWords } = options;
  if (width <= 0) fail(`invalid width ${width} (must be > 0)`);
  const chunks = chunksOf(run, line, options).reverse();
  const lines: Str[] = [];
  while (chunks.length > 0) {
    run.spend(4);
    if (lines.length > 0 && isBlank(chunks.at(-1)!)) chunks.pop();
    const current: Str[] = [];
    let used = 0;
    while (chunks.length > 0) {
      const next = widthOf(chunks.at(-1)!, width);
      if (used + next > width) break;
      used += next;
      current.push(chunks.pop()!);
    }
    if (chunks.length > 0 && widthOf(chunks.at(-1)!, width) > width) {
      breakLong(run, chunks, current, width - used, options);
    }
    if (current.length > 0 && isBlank(current.at(-1)!)) current.pop();
    if (current.length > 0) lines.push(join(run, current));
    else if (!breakLongWords && chunks.length === 0) break;
  }
  return lines;
}

function breakLong(
  run: Run,
  chunks: Str[],
  current: Str[],
  room: number,
  options: WrapOptions,
): void {
  const chunk = chunks.at(-1)!;
  const text = plain(chunk);
  if (!options.breakLongWords) {
    if (current.length === 0) current.push(chunks.pop()!);
    return;
  }
  let end = offsetOf(text.slice(0, 2 * room), room);
  if (options.breakOnHyphens && widthOf(chunk, room) > room) {
    const hyphen = text.lastIndexOf("-", end - 1);
    if (hyphen > 0 && /[^-]/.test(text.slice(0, hyphen))) end = hyphen + 1;
  }
  if (typeof chunk !== "string") run.spend(chunk.spans.length >> 4);
  current.push(cut(chunk, 0, end));
  chunks[chunks.length - 1] = cut(chunk, end, text.length);
}

function chunksOf(run: Run, line: Str, { breakOnHyphens }: WrapOptions): Str[] {
  const chunks: Str[] = [];
  let at = 0;
  for (const part of plain(line).split(breakOnHyphens ? CHUNK : SIMPLE_CHUNK)) {
    if (part !== "") {
      run.make(PIECE_SIZE);
      chunks.push(cut(line, at, at + part.length));
    }
    at += part.length;
  }
  return chunks;
}

/** How many characters a piece has, or any number beyond `most`. */
function widthOf(chunk: Str, most: number): number {
  return countPoints(plain(chunk).slice(0, 2 * most + 2));
}

/** Python asks whether `strip()` leaves nothing. */
function isBlank(chunk: Str): boolean {
  return plain(chunk) === "" || CLASSES["isspace"]!.test(plain(chunk));
}

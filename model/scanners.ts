/**
 * How tokenizers cut text before merging: one scanner for each regular expression that models of
 * ours have, written by hand over code points.
 *
 * A stranger's expression never runs, since it could take for ever; one that is not known here is
 * refused by name when the model is opened.
 *
 * @module
 */
import {
  after,
  kindAt,
  LETTER,
  LOWER,
  MARK,
  NUMBER,
  OTHER,
  runEnd,
  SIGN,
  SPACE,
  UPPER,
} from "./characters.ts";

/** The end of the piece that begins at `at` (`at < end`), of a text that ends at `end`. */
export type Scanner = (text: string, at: number, end: number) => number;

/** GPT-2's expression, which `ByteLevel` has by itself. */
export const GPT2_PATTERN =
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

const CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const SPACES = "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const llama3Pattern = (digits: string) =>
  `${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*${SPACES}`;
const casedPattern = (contraction: string, digits: string) => {
  const [prefix, upper, lower] = [
    "[^\\r\\n\\p{L}\\p{N}]?",
    "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]",
    "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]",
  ];
  return `${prefix}${upper}*${lower}+${contraction}|${prefix}${upper}+${lower}*${contraction}|` +
    `${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*${SPACES}`;
};

/** Llama 3's expression. */
export const LLAMA3_PATTERN = llama3Pattern("\\p{N}{1,3}");
/** Qwen 2's: Llama 3's with each digit by itself. */
export const QWEN2_PATTERN = llama3Pattern("\\p{N}");
const TEKKEN_PATTERN = casedPattern("", "\\p{N}");
const O200K_PATTERN = casedPattern(`${CONTRACTIONS}?`, "\\p{N}{1,3}");
const DEEPSEEK_WORDS = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|" +
  `[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*${SPACES}`;

/** What a Split's expression means; some leave gaps, which are pieces too. */
const SCANNERS: ReadonlyMap<string, { readonly scan: Scanner; readonly hasGaps: boolean }> =
  new Map([
    [GPT2_PATTERN, { scan: gpt2, hasGaps: false }],
    [LLAMA3_PATTERN, { scan: llama3(3), hasGaps: false }],
    [QWEN2_PATTERN, { scan: llama3(1), hasGaps: false }],
    [TEKKEN_PATTERN, { scan: cased(1, false), hasGaps: false }],
    [O200K_PATTERN, { scan: cased(3, true), hasGaps: false }],
    ["\\p{N}", { scan: digits(1), hasGaps: true }],
    ["\\p{N}{1,3}", { scan: digits(3), hasGaps: true }],
    ["[一-龥\u3040-ゟ゠-ヿ]+", { scan: deepseekIdeographs, hasGaps: true }],
    [DEEPSEEK_WORDS, { scan: deepseekWords, hasGaps: true }],
  ]);

/** The scanner of a regular expression, undefined where it is not known. */
export function knownScanner(
  pattern: string,
): { readonly scan: Scanner; readonly hasGaps: boolean } | undefined {
  // Some files hold the characters themselves where others hold escapes.
  return SCANNERS.get(pattern.replaceAll("\r", "\\r").replaceAll("\n", "\\n"));
}

const [LF, CR, BLANK, APOSTROPHE, SLASH] = [10, 13, 32, 39, 47];
const NO_WORD = MARK | SIGN | OTHER; // [^\s\p{L}\p{N}]

/** GPT-2: {@linkcode GPT2_PATTERN}. */
export function gpt2(text: string, at: number, end: number): number {
  const code = text.charCodeAt(at);
  if (code === APOSTROPHE) {
    const short = contractionEnd(text, at, end, false);
    if (short > at) return short;
  }
  const start = code === BLANK ? at + 1 : at;
  const kind = kindAt(text, start, end);
  if (kind & LETTER) return runEnd(text, start, end, LETTER);
  if (kind & NUMBER) return runEnd(text, start, end, NUMBER);
  if (kind & NO_WORD) return runEnd(text, start, end, NO_WORD);
  return spacesEnd(at, runEnd(text, at, end, SPACE), end);
}

/** {@linkcode LLAMA3_PATTERN}; numbers in groups of at most `maxDigits`. */
function llama3(maxDigits: number): Scanner {
  return (text, at, end) => {
    const code = text.charCodeAt(at);
    if (code === APOSTROPHE) {
      const short = contractionEnd(text, at, end, true);
      if (short > at) return short;
    }
    const kind = kindAt(text, at, end);
    if (kind & LETTER) return runEnd(text, at, end, LETTER);
    if (kind & NUMBER) return digitsEnd(text, at, end, maxDigits);
    if (!isNewline(code)) {
      const next = after(text, at);
      if (kindAt(text, next, end) & LETTER) return runEnd(text, next, end, LETTER);
    }
    return restEnd(text, at, end, code, false);
  };
}

/** Tekken's and o200k's: words end where a capital follows a small letter. */
function cased(maxDigits: number, contractions: boolean): Scanner {
  const wordEnd = (text: string, at: number, end: number) => {
    const word = casedWordEnd(text, at, end);
    return contractions && word > at && text.charCodeAt(word) === APOSTROPHE
      ? contractionEnd(text, word, end, true)
      : word;
  };
  return (text, at, end) => {
    const word = wordEnd(text, at, end);
    if (word > at) return word;
    if (kindAt(text, at, end) & NUMBER) return digitsEnd(text, at, end, maxDigits);
    return restEnd(text, at, end, text.charCodeAt(at), true);
  };
}

/** A word that ends in small letters is preferred to one of capitals, a sign before it to none. */
function casedWordEnd(text: string, at: number, end: number): number {
  const kind = kindAt(text, at, end);
  if (kind & LETTER) return smallEnd(text, at, end) || capitalEnd(text, at, end);
  if (kind & NUMBER || isNewline(text.charCodeAt(at))) return at;
  const next = after(text, at);
  const isMark = (kind & MARK) !== 0; // may begin the word itself
  return smallEnd(text, next, end) || isMark && smallEnd(text, at, end) ||
    capitalEnd(text, next, end) || isMark && capitalEnd(text, at, end) || at;
}

/** `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+`; 0 where it does not match. */
function smallEnd(text: string, at: number, end: number): number {
  let lastBoth = 0;
  for (;;) {
    const kind = kindAt(text, at, end);
    if ((kind & (UPPER | MARK)) === 0) break;
    const next = after(text, at);
    if (kind & (LOWER | MARK)) lastBoth = next;
    at = next;
  }
  // What is capital and small went to the first half: the last of them is given to the second.
  return kindAt(text, at, end) & LOWER ? runEnd(text, at, end, LOWER | MARK) : lastBoth;
}

/** `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*`; 0 where it does not match. */
function capitalEnd(text: string, at: number, end: number): number {
  const capitals = runEnd(text, at, end, UPPER | MARK);
  return capitals > at ? runEnd(text, capitals, end, LOWER | MARK) : 0;
}

/** Groups of at most `most` digits, and what is between. */
export function digits(most: number): Scanner {
  return (text, at, end) =>
    kindAt(text, at, end) & NUMBER
      ? digitsEnd(text, at, end, most)
      : runEnd(text, at, end, ~NUMBER);
}

function deepseekIdeographs(text: string, at: number, end: number): number {
  const first = isDeepseekIdeograph(text.charCodeAt(at));
  do at++; while (at < end && isDeepseekIdeograph(text.charCodeAt(at)) === first);
  return at;
}

function isDeepseekIdeograph(code: number): boolean {
  return code >= 0x4e00 && code <= 0x9fa5 || code >= 0x3040 && code <= 0x30ff;
}

function deepseekWords(text: string, at: number, end: number): number {
  for (let gap = at; gap < end; gap = after(text, gap)) {
    const match = deepseekMatch(text, gap, end);
    if (match > gap) return gap > at ? gap : match;
  }
  return end;
}

/** {@linkcode DEEPSEEK_WORDS}; `at` where it does not match. */
function deepseekMatch(text: string, at: number, end: number): number {
  const code = text.charCodeAt(at);
  const kind = kindAt(text, at, end);
  const next = after(text, at);
  if (kind & SIGN && code < 128) {
    let letters = next;
    while (letters < end && isAsciiLetter(text.charCodeAt(letters))) letters++;
    if (letters > next) return letters;
  }
  if (!(kind & (LETTER | SIGN)) && !isNewline(code)) {
    const word = runEnd(text, next, end, LETTER | MARK);
    if (word > next) return word;
  }
  if (kind & (LETTER | MARK)) return runEnd(text, at, end, LETTER | MARK);
  const start = code === BLANK ? next : at;
  const signs = runEnd(text, start, end, SIGN);
  if (signs > start) return newlinesEnd(text, signs, end, false);
  return kind & SPACE ? spacesOrLinesEnd(text, at, end) : at;
}

/** ` ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+` */
function restEnd(text: string, at: number, end: number, code: number, slashes: boolean): number {
  const start = code === BLANK ? at + 1 : at;
  const signs = runEnd(text, start, end, NO_WORD);
  return signs > start ? newlinesEnd(text, signs, end, slashes) : spacesOrLinesEnd(text, at, end);
}

/** `\s*[\r\n]+|\s+(?!\S)|\s+` */
function spacesOrLinesEnd(text: string, at: number, end: number): number {
  const spaces = runEnd(text, at, end, SPACE);
  for (let last = spaces - 1; last >= at; last--) {
    if (isNewline(text.charCodeAt(last))) return last + 1;
  }
  return spacesEnd(at, spaces, end);
}

/** `\s+(?!\S)|\s+`: the last space before a word belongs to the word. */
function spacesEnd(at: number, spaces: number, end: number): number {
  return spaces < end && spaces - at > 1 ? spaces - 1 : spaces;
}

function newlinesEnd(text: string, at: number, end: number, slashes: boolean): number {
  while (at < end) {
    const code = text.charCodeAt(at);
    if (!isNewline(code) && !(slashes && code === SLASH)) break;
    at++;
  }
  return at;
}

function digitsEnd(text: string, at: number, end: number, most: number): number {
  for (let count = 0; count < most && kindAt(text, at, end) & NUMBER; count++) at = after(text, at);
  return at;
}

/** `'s`, `'t`, `'re`, `'ve`, `'m`, `'ll`, `'d`; `at` where there is none of them. */
function contractionEnd(text: string, at: number, end: number, anyCase: boolean): number {
  const fold = (code: number) =>
    !anyCase ? code : code === 0x17f ? 0x73 : code >= 65 && code <= 90 ? code + 32 : code;
  const first = at + 1 < end ? fold(text.charCodeAt(at + 1)) : 0;
  switch (first) {
    case 0x73: // s
    case 0x74: // t
    case 0x6d: // m
    case 0x64: // d
      return at + 2;
    case 0x72: // re
    case 0x76: // ve
    case 0x6c: { // ll
      const second = at + 2 < end ? fold(text.charCodeAt(at + 2)) : 0;
      return second === (first === 0x6c ? 0x6c : 0x65) ? at + 3 : at;
    }
  }
  return at;
}

function isNewline(code: number): boolean {
  return code === LF || code === CR;
}

function isAsciiLetter(code: number): boolean {
  return code >= 65 && code <= 90 || code >= 97 && code <= 122;
}

/**
 * Kinds of characters, as the regular expressions of tokenizers mean them: Rust's and Oniguruma's `\s`
 * is Unicode's White_Space, which has U+0085 and has not U+FEFF, unlike JavaScript's.
 *
 * @module
 */

/** `\p{Lu}`, `\p{Lt}`; with {@linkcode LOWER}, which these have no share in, `\p{Lm}` and `\p{Lo}`. */
export const UPPER = 1;
/** `\p{Ll}`, and `\p{Lm}` and `\p{Lo}`, which have no case and so have both bits. */
export const LOWER = 2;
/** `\p{L}` */
export const LETTER = UPPER | LOWER;
/** `\p{M}` */
export const MARK = 4;
/** `\p{N}` */
export const NUMBER = 8;
/** `\p{P}`, `\p{S}` */
export const SIGN = 16;
/** `\s` */
export const SPACE = 32;
/** All else: control characters, private use, not assigned. */
export const OTHER = 64;

/** A byte a code point; 0: not asked for yet. */
const KINDS = new Uint8Array(0x110000);

const PATTERNS: readonly (readonly [RegExp, number])[] = [
  [/\p{White_Space}/u, SPACE],
  [/[\p{Lu}\p{Lt}]/u, UPPER],
  [/\p{Ll}/u, LOWER],
  [/\p{L}/u, LETTER],
  [/\p{M}/u, MARK],
  [/\p{N}/u, NUMBER],
  [/[\p{P}\p{S}]/u, SIGN],
];

function findKind(codePoint: number): number {
  const character = String.fromCodePoint(codePoint);
  const kind = PATTERNS.find(([pattern]) => pattern.test(character))?.[1] ?? OTHER;
  KINDS[codePoint] = kind;
  return kind;
}

/** The bits of the code point at `at`; 0 at the end. */
export function kindAt(text: string, at: number, end: number): number {
  if (at >= end) return 0;
  let code = text.charCodeAt(at);
  if ((code & 0xfc00) === 0xd800) code = text.codePointAt(at)!;
  return KINDS[code] || findKind(code);
}

/** Where the code point after the one at `at` begins. */
export function after(text: string, at: number): number {
  return (text.charCodeAt(at) & 0xfc00) === 0xd800 && text.codePointAt(at)! > 0xffff
    ? at + 2
    : at + 1;
}

/** The end of the run of code points of these kinds that begins at `at`. */
export function runEnd(text: string, at: number, end: number, kinds: number): number {
  while (at < end) {
    let code = text.charCodeAt(at);
    let width = 1;
    if ((code & 0xfc00) === 0xd800) {
      code = text.codePointAt(at)!;
      if (code > 0xffff) width = 2;
    }
    if (((KINDS[code] || findKind(code)) & kinds) === 0) break;
    at += width;
  }
  return at;
}

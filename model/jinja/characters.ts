/**
 * What Python knows of characters: white space, lines, classes, cases.
 *
 * @module
 */

/** Characters that Python's `str.isspace` and `\s` take; JavaScript's `\s` has others. */
export const SPACE =
  "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";

const SPACE_AT = new RegExp(`[${SPACE}]`);

/** All of them are one unit long. */
const SPACE_CODES = new Set<number>();
for (let code = 0; code <= 0x3000; code++) {
  if (SPACE_AT.test(String.fromCharCode(code))) SPACE_CODES.add(code);
}

/** Whether the unit at an offset is white space. */
export function isSpaceAt(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  return code === 32 || code === 10 || ((code < 32 || code > 126) && SPACE_CODES.has(code));
}

/** Where lines end, for `splitlines`. */
// deno-lint-ignore no-control-regex
const LINE_END = /\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/g;

/** Each line's start, its end, and the end of what ends it. */
export function* linesOf(text: string): Generator<[start: number, end: number, next: number]> {
  let start = 0;
  for (const { index, 0: end } of text.matchAll(LINE_END)) {
    yield [start, index, index + end.length];
    start = index + end.length;
  }
  if (start < text.length) yield [start, text.length, text.length];
}

/** What `isdigit` and its like ask of each character, by the method's name. */
export const CLASSES: Readonly<Record<string, RegExp>> = {
  isalnum: /^[\p{L}\p{N}]+$/u,
  isalpha: /^\p{L}+$/u,
  isdecimal: /^\p{Nd}+$/u,
  // Of \p{No}, those with a digit's value.
  isdigit:
    /^[\p{Nd}\xb2\xb3\xb9\u1369-\u1371\u19da\u2070\u2074-\u2079\u2080-\u2089\u2460-\u2468\u2474-\u247c\u2488-\u2490\u24ea\u24f5-\u24fd\u24ff\u2776-\u277e\u2780-\u2788\u278a-\u2792\u{10a40}-\u{10a43}\u{10e60}-\u{10e68}\u{11052}-\u{1105a}\u{1f100}-\u{1f10a}]+$/u,
  // With those of \p{Lo} that have a number's value, which are Han.
  isnumeric:
    /^[\p{N}\u3405\u3483\u382a\u3b4d\u4e00\u4e03\u4e07\u4e09\u4e5d\u4e8c\u4e94\u4e96\u4ebf\u4ec0\u4edf\u4ee8\u4f0d\u4f70\u5104\u5146\u5169\u516b\u516d\u5341\u5343-\u5345\u534c\u53c1-\u53c4\u56db\u58f1\u58f9\u5e7a\u5efe\u5eff\u5f0c-\u5f0e\u5f10\u62fe\u634c\u67d2\u6f06\u7396\u767e\u8086\u842c\u8cae\u8cb3\u8d30\u9621\u9646\u964c\u9678\u96f6\uf96b\uf973\uf978\uf9b2\uf9d1\uf9d3\uf9fd\u{20001}\u{20064}\u{200e2}\u{20121}\u{2092a}\u{20983}\u{2098c}\u{2099c}\u{20aea}\u{20afd}\u{20b19}\u{22390}\u{22998}\u{23b1b}\u{2626d}\u{2f890}]+$/u,
  isspace: new RegExp(`^[${SPACE}]+$`),
  isidentifier: /^[\p{XIDS}_]\p{XIDC}*$/u,
  isascii: /^\p{ASCII}*$/u,
  isprintable: /^[[^\p{C}\p{Z}] ]*$/v,
};

/** Letters whose title case JavaScript has not, beside those from U+1F80 to U+1FAF. */
const TITLES: Readonly<Record<string, string>> = {
  "\u0149": "\u02bcN",
  "\u1fb2": "\u1fba\u0345",
  "\u1fb3": "\u1fbc",
  "\u1fb4": "\u0386\u0345",
  "\u1fb7": "\u0391\u0342\u0345",
  "\u1fbc": "\u1fbc",
  "\u1fc2": "\u1fca\u0345",
  "\u1fc3": "\u1fcc",
  "\u1fc4": "\u0389\u0345",
  "\u1fc7": "\u0397\u0342\u0345",
  "\u1fcc": "\u1fcc",
  "\u1ff2": "\u1ffa\u0345",
  "\u1ff3": "\u1ffc",
  "\u1ff4": "\u038f\u0345",
  "\u1ff7": "\u03a9\u0342\u0345",
  "\u1ffc": "\u1ffc",
};

/** One character in title case: its upper case, but for letters that are two in one. */
function titleOf(point: string): string {
  const code = point.codePointAt(0)!;
  if (code >= 0x1c4 && code <= 0x1cc) return String.fromCharCode(code - (code - 0x1c4) % 3 + 1);
  if (code >= 0x1f1 && code <= 0x1f3) return "\u01f2";
  if (code >= 0x10d0 && code <= 0x10ff) return point; // Georgian has no title case
  if (code >= 0x1f80 && code <= 0x1faf) return String.fromCharCode(code | 8);
  const upper = TITLES[point] ?? point.toUpperCase();
  return upper.length > point.length && !(point in TITLES)
    ? upper[0]! + upper.slice(1).toLowerCase()
    : upper;
}

/** Python's `str.capitalize`. */
export function capitalize(text: string): string {
  if (text === "") return "";
  const first = String.fromCodePoint(text.codePointAt(0)!);
  // The rest stays behind its first letter: a sigma that ends a word has a small letter of its own.
  return titleOf(first) + text.toLowerCase().slice(first.toLowerCase().length);
}

const CASED = /^[\p{Lowercase}\p{Uppercase}\p{Lt}]$/u;

/** Python's `str.title`: each letter behind one that has no case is in title case. */
export function title(text: string): string {
  let result = "";
  let word = "";
  for (const point of text) {
    if (isCased(point)) {
      word += point;
      continue;
    }
    result += capitalize(word) + point;
    word = "";
  }
  return result + capitalize(word);
}

/** Whether a character has upper or lower case. */
function isCased(point: string): boolean {
  return CASED.test(point);
}

/** Whether a letter with case is a small one. */
export function isLowerPoint(point: string): boolean {
  return /^\p{Lowercase}$/u.test(point);
}

/** Whether a letter with case is a capital one. */
export function isUpperPoint(point: string): boolean {
  return /^\p{Uppercase}$/u.test(point);
}

/** Whether a letter has a case of its own between the two. */
function isTitlePoint(point: string): boolean {
  return /^\p{Lt}$/u.test(point);
}

/** Python's `str.islower`: letters with case are there, and all are small. */
export function isLower(text: string): boolean {
  return /\p{Lowercase}/u.test(text) && !/[\p{Uppercase}\p{Lt}]/u.test(text);
}

/** Python's `str.isupper`. */
export function isUpper(text: string): boolean {
  return /\p{Uppercase}/u.test(text) && !/[\p{Lowercase}\p{Lt}]/u.test(text);
}

/** Python's `str.istitle`. */
export function isTitle(text: string): boolean {
  let [hasCased, wasCased] = [false, false];
  for (const point of text) {
    const isBig = isUpperPoint(point) || isTitlePoint(point);
    if (isBig === wasCased && (isBig || isLowerPoint(point))) return false;
    if (!isBig && isLowerPoint(point) && !wasCased) return false;
    wasCased = isCased(point);
    hasCased ||= wasCased;
  }
  return hasCased;
}

/**
 * A template's text as tokens, as jinja2's lexer cuts it with `trim_blocks` and `lstrip_blocks`.
 *
 * @module
 */
import { SPACE } from "./characters.ts";
import { parseIntText } from "./numbers.ts";
import { fail } from "./run.ts";
import { Float, type Value } from "./values.ts";

/** Text between tags, the borders of tags, and what stands in them. */
export type TokenType =
  | "data"
  | "variable_begin"
  | "variable_end"
  | "block_begin"
  | "block_end"
  | "name"
  | "string"
  | "number"
  | "operator"
  | "eof";

/** A piece of a template. */
export interface Token {
  readonly type: TokenType;
  /** The characters; of a string what it says. */
  readonly text: string;
  /** Of a number. */
  readonly value: Value;
  readonly line: number;
}

/** Refuses what no template is. */
export function failAt(line: number, message: string): never {
  fail(`line ${line}: ${message}`);
}

const NUMBER =
  /((?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?e[+-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+))|(0b(?:_?[01])+|0o(?:_?[0-7])+|0x(?:_?[\da-f])+|[1-9](?:_?\d)*|0(?:_?0)*)/iy;
const NAME = /[\p{XIDC}_]+/uy;
const IDENTIFIER = /^[\p{XIDS}_]\p{XIDC}*$/u;
const STRING = /'([^'\\]*(?:\\.[^'\\]*)*)'|"([^"\\]*(?:\\.[^"\\]*)*)"/sy;
const OPERATOR = /\/\/|\*\*|==|!=|>=|<=|[-+/*%~[\](){}<>=.:|,;]/y;
const WHITE = new RegExp(`[${SPACE}]+`, "y");
const RAW_BEGIN = new RegExp(`\\{%[-+]?[${SPACE}]*raw[${SPACE}]*(?:-%\\}[${SPACE}]*|%\\})`, "y");
const RAW_END = new RegExp(
  `\\{%([-+]?)[${SPACE}]*endraw[${SPACE}]*(?:\\+%\\}|-%\\}[${SPACE}]*|%\\}\\n?)`,
  "g",
);
const BLOCK_END = new RegExp(`\\+%\\}|-%\\}[${SPACE}]*|%\\}\\n?`, "y");
const VARIABLE_END = new RegExp(`-\\}\\}[${SPACE}]*|\\}\\}`, "y");
const COMMENT_END = new RegExp(`\\+#\\}|-#\\}[${SPACE}]*|#\\}\\n?`, "g");
const TRAILING_WHITE = new RegExp(`[${SPACE}]$`);
const ALL_WHITE = new RegExp(`^[${SPACE}]+$`);

const CLOSING: Readonly<Record<string, string>> = { "(": ")", "[": "]", "{": "}" };

/** All tokens of a template; the last is the end of it. */
export function tokenize(template: string): Token[] {
  return new Lexer(template).run();
}

class Lexer {
  readonly #source: string;
  readonly #tokens: Token[] = [];
  #at = 0;
  #line = 1;
  /** What the last token ended with decides whether a line begins here. */
  #isLineStart = true;

  constructor(template: string) {
    // Python's line ends are one character, and the last of them goes.
    this.#source = template.replace(/\r\n?/g, "\n").replace(/\n$/, "");
  }

  run(): Token[] {
    while (this.#at < this.#source.length) this.#root();
    this.#push("eof", "");
    return this.#tokens;
  }

  #push(type: TokenType, text: string, value: Value = null): void {
    this.#tokens.push({ type, text, value, line: this.#line });
  }

  #advance(end: number): void {
    for (let at = this.#at; (at = this.#source.indexOf("\n", at)) >= 0 && at < end; at++) {
      this.#line++;
    }
    this.#isLineStart = this.#source[end - 1] === "\n";
    this.#at = end;
  }

  /** The end of what a sticky pattern finds here; undefined where it does not. */
  #match(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#at;
    return pattern.exec(this.#source) ?? undefined;
  }

  /** Text up to the next tag, and the tag. */
  #root(): void {
    const source = this.#source;
    let start = this.#at - 1;
    do start = source.indexOf("{", start + 1); while (
      start >= 0 && !"{%#".includes(source[start + 1] ?? " ")
    );
    if (start < 0) {
      this.#push("data", source.slice(this.#at));
      this.#advance(source.length);
      return;
    }
    const tag = source[start + 1]!;
    const sign = "-+".includes(source[start + 2] ?? " ") ? source[start + 2]! : "";
    this.#data(source.slice(this.#at, start), sign, tag === "{");
    this.#advance(start);
    if (tag === "%") {
      const raw = this.#match(RAW_BEGIN);
      if (raw !== undefined) return this.#raw(raw[0].length);
    }
    const content = start + 2 + sign.length;
    if (tag === "#") return this.#comment(content);
    this.#push(tag === "{" ? "variable_begin" : "block_begin", "");
    this.#advance(content);
    this.#tag(tag === "{" ? VARIABLE_END : BLOCK_END, tag === "{" ? "variable_end" : "block_end");
  }

  /** Text before a tag, without the white space that the tag takes away. */
  #data(text: string, sign: string, isVariable: boolean): void {
    let kept = text;
    if (sign === "-") {
      let end = text.length;
      while (end > 0 && TRAILING_WHITE.test(text[end - 1]!)) end--;
      kept = text.slice(0, end);
    } else if (sign !== "+" && !isVariable) {
      const line = text.lastIndexOf("\n") + 1;
      if ((line > 0 || this.#isLineStart) && ALL_WHITE.test(text.slice(line))) {
        kept = text.slice(0, line);
      }
    }
    if (kept !== "") this.#push("data", kept);
  }

  #raw(length: number): void {
    this.#advance(this.#at + length);
    if (this.#at === this.#source.length) return; // nothing is left that could miss its end
    const end = this.#match(RAW_END) ?? failAt(this.#line, "Missing end of raw directive");
    this.#data(this.#source.slice(this.#at, end.index), end[1]!, false);
    this.#advance(end.index + end[0].length);
  }

  #comment(content: number): void {
    this.#advance(content);
    if (this.#at === this.#source.length) return; // likewise
    const end = this.#match(COMMENT_END) ?? failAt(this.#line, "Missing end of comment tag");
    this.#advance(end.index + end[0].length);
  }

  /** What stands in a tag, up to its end. */
  #tag(end: RegExp, type: "variable_end" | "block_end"): void {
    const open: string[] = [];
    while (true) {
      const closed = open.length === 0 ? this.#match(end) : undefined;
      if (closed !== undefined) {
        this.#push(type, "");
        return this.#advance(this.#at + closed[0].length);
      }
      const white = this.#match(WHITE);
      if (white !== undefined) this.#advance(this.#at + white[0].length);
      else if (this.#at >= this.#source.length) return;
      else this.#advance(this.#at + this.#word(open));
    }
  }

  /** A number, name, string or operator. */
  #word(open: string[]): number {
    const number = this.#source[this.#at - 1] === "." ? this.#integer() : this.#match(NUMBER);
    if (number !== undefined) {
      const [text, float] = number;
      const value = float === undefined
        ? parseIntText(text, 0) ?? failAt(this.#line, `invalid number ${text}`)
        : new Float(Number(text.replaceAll("_", "")));
      this.#push("number", text, value);
      return text.length;
    }
    const name = this.#match(NAME)?.[0];
    if (name !== undefined) {
      if (!IDENTIFIER.test(name)) failAt(this.#line, "Invalid character in identifier");
      this.#push("name", name);
      return name.length;
    }
    const string = this.#match(STRING);
    if (string !== undefined) {
      this.#push("string", unescape(string[1] ?? string[2]!, this.#line));
      return string[0].length;
    }
    const operator = this.#match(OPERATOR)?.[0] ??
      failAt(this.#line, `unexpected char '${this.#source[this.#at]}' at ${this.#at}`);
    if (operator in CLOSING) open.push(CLOSING[operator]!);
    else if (operator === ")" || operator === "]" || operator === "}") {
      const expected = open.pop() ?? failAt(this.#line, `unexpected '${operator}'`);
      if (expected !== operator) {
        failAt(this.#line, `unexpected '${operator}', expected '${expected}'`);
      }
    }
    this.#push("operator", operator);
    return operator.length;
  }

  /** Behind a point stands no float: `a.0.1`. */
  #integer(): RegExpExecArray | undefined {
    const integer = /[1-9](?:_?\d)*|0(?:_?0)*/y;
    const found = this.#match(integer);
    if (found !== undefined) found.splice(1, 1, undefined!);
    return found;
  }
}

const ESCAPES: Readonly<Record<string, string>> = {
  "\n": "",
  "\\": "\\",
  "'": "'",
  '"': '"',
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};

const ESCAPE = /\\(?:([0-7]{1,3})|x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|(.))/gs;

/** What a string literal says, in Python's escapes. */
function unescape(text: string, line: number): string {
  if (!text.includes("\\")) return text;
  return text.replace(ESCAPE, (all, octal, two, four, eight, other) => {
    if (other === undefined) {
      const code = octal === undefined ? parseInt(two ?? four ?? eight, 16) : parseInt(octal, 8);
      if (code > 0x10ffff) failAt(line, "illegal Unicode character");
      return String.fromCodePoint(code);
    }
    if (other === "N") failAt(line, "names of characters (\\N{…}) are not supported");
    if ("xuU".includes(other)) failAt(line, `truncated \\${other} escape`);
    // jinja2 has characters beyond ASCII escaped once before it unescapes.
    if (other > "\x7f") {
      failAt(line, "a backslash before a character beyond ASCII is not supported");
    }
    return ESCAPES[other] ?? all;
  });
}

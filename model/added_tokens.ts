/**
 * Finds added tokens in a text, before anything else sees it: leftmost first, and of several the longest.
 *
 * @module
 */
import type { AddedTokenJson } from "./tokenizer.ts";

/** Part of a text: where an added token stands, or what is between. */
export interface Part {
  /** -1: no added token. */
  readonly id: number;
  readonly start: number;
  readonly end: number;
}

/** Says whether a token may be found where it stands. */
export type IsAllowed = (token: AddedTokenJson, start: number, end: number) => boolean;

interface Node {
  readonly next: Map<number, Node>;
  token?: AddedTokenJson;
}

/** A tree of the tokens' characters. */
export class AddedTokenMatcher {
  readonly #root: Node = { next: new Map() };
  /** 1 for UTF-16 units that begin a token. */
  readonly #begins = new Uint8Array(0x10000);

  constructor(tokens: Iterable<AddedTokenJson>) {
    for (const token of tokens) this.#add(token);
  }

  #add(token: AddedTokenJson): void {
    this.#begins[token.content.charCodeAt(0)] = 1;
    let node = this.#root;
    for (let i = 0; i < token.content.length; i++) {
      const unit = token.content.charCodeAt(i);
      let child = node.next.get(unit);
      if (child === undefined) node.next.set(unit, child = { next: new Map() });
      node = child;
    }
    node.token = token;
  }

  /** The parts of a text, in order. */
  *split(text: string, isAllowed: IsAllowed): Generator<Part, void, void> {
    let done = 0;
    const searched = this.#root.next.size === 0 ? 0 : text.length;
    for (let at = 0; at < searched;) {
      const token = this.#begins[text.charCodeAt(at)] === 1
        ? this.#longest(text, at, isAllowed)
        : undefined;
      if (token === undefined) {
        at++;
        continue;
      }
      let [start, end] = [at, at + token.content.length];
      at = end;
      if (token["single_word"] === true && touchesWord(text, start, end)) continue;
      if (token["lstrip"] === true) {
        while (start > done && SPACE.test(text[start - 1]!)) start--;
      }
      if (token["rstrip"] === true) {
        while (end < text.length && SPACE.test(text[end]!)) end++;
        at = end;
      }
      if (start > done) yield { id: -1, start: done, end: start };
      yield { id: token.id, start, end };
      done = end;
    }
    if (done < text.length) yield { id: -1, start: done, end: text.length };
  }

  #longest(text: string, at: number, isAllowed: IsAllowed): AddedTokenJson | undefined {
    let found: AddedTokenJson | undefined;
    let node: Node | undefined = this.#root;
    for (let i = at; i < text.length; i++) {
      node = node.next.get(text.charCodeAt(i));
      if (node === undefined) break;
      if (node.token !== undefined && isAllowed(node.token, at, i + 1)) found = node.token;
    }
    return found;
  }
}

const SPACE = /\p{White_Space}/u;
const WORD = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;

/** A letter or the like stands right before or after. */
function touchesWord(text: string, start: number, end: number): boolean {
  const before = /.$/su.exec(text.slice(Math.max(0, start - 2), start))?.[0] ?? "";
  const behind = end < text.length ? String.fromCodePoint(text.codePointAt(end)!) : "";
  return WORD.test(before) || WORD.test(behind);
}

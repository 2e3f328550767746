/**
 * Token ids to text, one at a time, without ever emitting half a character.
 *
 * A token's text depends on the one before (leading spaces, characters spread over tokens), so text is
 * the difference of two decodes of a short window, as vLLM does:
 *
 *     tokens   ... | prefix ........ | read ......... | new
 *                  |<- text is out ->|<- text held ->|
 *
 * The window begins at `prefix`, where text went out the time before, and at first in the prompt: what
 * is generated continues the prompt's text.
 *
 * @module
 */
import type { Tokenizer } from "../model/spec.ts";

/** Enough for the text of the next token to be what it would be after the whole prompt. */
const PROMPT_TAIL = 6;

/** Streaming decoder of one sequence. */
export class Detokenizer {
  readonly #tokenizer: Tokenizer;
  readonly #skipSpecialTokens: boolean;
  readonly #kept: readonly number[];
  #window: number[];
  /** Tokens of the window whose text is out. */
  #numRead: number;
  /** Text of those. */
  #readText: string;
  readonly #utf8 = new Utf8Boundary();

  constructor(
    tokenizer: Tokenizer,
    promptTokens: readonly number[],
    { skipSpecialTokens, kept = [] }: {
      readonly skipSpecialTokens: boolean;
      /** Special tokens that are not skipped. */
      readonly kept?: readonly number[];
    },
  ) {
    this.#tokenizer = tokenizer;
    this.#skipSpecialTokens = skipSpecialTokens;
    this.#kept = kept;
    this.#window = this.#tail(promptTokens);
    this.#numRead = this.#window.length;
    for (const token of this.#window) this.#utf8.push(tokenizer.tokenBytes(token));
    const text = this.#decode();
    // A prompt that ends inside a character: the output completes it, so its U+FFFD is not out yet.
    this.#readText = this.#utf8.insideCharacter ? text.replace(/\uFFFD+$/, "") : text;
  }

  /** The text that is complete with this token; often all of the token's, sometimes none. */
  push(token: number): string {
    if (this.#isSkipped(token)) return "";
    const bytes = this.#tokenizer.tokenBytes(token);
    if (bytes.length === 0) return ""; // of padded embeddings; the window would grow with each
    this.#window.push(token);
    this.#utf8.push(bytes);
    if (this.#utf8.insideCharacter) return "";
    return this.#advance();
  }

  /** What is held at the end of the sequence: half a character as U+FFFD. */
  flush(): string {
    return this.#window.length > this.#numRead ? this.#advance() : "";
  }

  #advance(): string {
    const text = this.#decode();
    const added = text.slice(this.#readText.length);
    // A token without text of its own must not become the context of the next one: the leading space
    // of a sentence's first word is dropped, and the window would look like a sentence's beginning.
    if (added === "") return "";
    this.#window = this.#window.slice(this.#numRead);
    this.#numRead = this.#window.length;
    this.#readText = this.#decode();
    return added;
  }

  #isSkipped(token: number): boolean {
    return this.#skipSpecialTokens && this.#tokenizer.isSpecial(token) &&
      !this.#kept.includes(token);
  }

  /** The prompt's last tokens that have text, from the beginning of a character on. */
  #tail(promptTokens: readonly number[]): number[] {
    const tail: number[] = [];
    for (let i = promptTokens.length - 1; i >= 0; i--) {
      const token = promptTokens[i]!;
      if (this.#isSkipped(token)) continue;
      tail.unshift(token);
      if (tail.length < PROMPT_TAIL) continue;
      if (!isContinuation(this.#tokenizer.tokenBytes(token)[0])) break;
    }
    return tail;
  }

  #decode(): string {
    // What is to be skipped never comes into the window.
    return this.#tokenizer.decode(this.#window, { skipSpecialTokens: false });
  }
}

function isContinuation(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80;
}

/** Follows bytes and tells whether they end in the beginning of a UTF-8 character. */
class Utf8Boundary {
  #missing = 0;

  get insideCharacter(): boolean {
    return this.#missing > 0;
  }

  push(bytes: Uint8Array): void {
    for (const byte of bytes) {
      if (this.#missing > 0 && isContinuation(byte)) this.#missing--;
      else this.#missing = continuationBytes(byte);
    }
  }
}

/** Bytes that follow a leading byte; 0 for ASCII and for bytes that can lead nothing. */
function continuationBytes(lead: number): number {
  if (lead >= 0xc2 && lead <= 0xdf) return 1;
  if (lead >= 0xe0 && lead <= 0xef) return 2;
  if (lead >= 0xf0 && lead <= 0xf4) return 3;
  return 0;
}

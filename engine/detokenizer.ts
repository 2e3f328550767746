/**
 * Token ids to text, one at a time, without ever emitting half a character.
 *
 * A token is bytes, and a text is the bytes of its tokens one behind another; so what is held back is a
 * character's beginning. Only where a text begins it may be otherwise: some tokenizers drop the space of
 * its first word. There the tokenizer is asked for the text of all tokens so far.
 *
 * What is generated continues the prompt's text.
 *
 * @module
 */
import type { Tokenizer } from "../model/spec.ts";
import { joinBytes } from "../model/tokenizer.ts";

const UTF8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** Of a character. */
const MOST_UTF8_BYTES = 4;

/** Of single tokens, by their bytes: a tokenizer gives the same array each time. */
const TEXTS = new WeakMap<Uint8Array, string>();

/** Streaming decoder of one sequence. */
export class Detokenizer {
  readonly #tokenizer: Tokenizer;
  readonly #skipSpecialTokens: boolean;
  readonly #kept: readonly number[];
  /** All tokens of a text that has none yet; undefined where text is out. */
  #first: number[] | undefined;
  /** Half a character at the prompt's end: text of the output once a token continues it. */
  #begun: Uint8Array | undefined;
  /** Bytes whose text is not out. */
  #held: Uint8Array[] = [];
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
    const end = this.#endOf(promptTokens);
    if (end.length === 0) this.#first = [];
    for (const byte of end) this.#utf8.push(byte);
    if (this.#utf8.insideCharacter) this.#begun = end.slice(-this.#utf8.numBytes);
  }

  /** The text that is complete with this token; often all of the token's, sometimes none. */
  push(token: number): string {
    if (this.#isSkipped(token)) return "";
    const bytes = this.#tokenizer.tokenBytes(token);
    if (bytes.length === 0) return ""; // of padded embeddings
    if (this.#begun !== undefined) this.#held.push(this.#begun);
    this.#begun = undefined;
    this.#held.push(bytes);
    this.#first?.push(token);
    for (let i = 0; i < bytes.length; i++) this.#utf8.push(bytes[i]!);
    return this.#utf8.insideCharacter ? "" : this.#release();
  }

  /** What is held at the end of the sequence: half a character as U+FFFD. */
  flush(): string {
    return this.#held.length > 0 ? this.#release() : "";
  }

  #release(): string {
    let text: string;
    if (this.#first === undefined) {
      text = textOf(this.#held);
    } else {
      text = this.#tokenizer.decode(this.#first, { skipSpecialTokens: false });
      if (text === "") return ""; // the space that is dropped
      this.#first = undefined;
    }
    this.#held = [];
    return text;
  }

  #isSkipped(token: number): boolean {
    return this.#skipSpecialTokens && this.#tokenizer.isSpecial(token) &&
      !this.#kept.includes(token);
  }

  /** The prompt's last bytes, as many as a character can have; none where it has no text. */
  #endOf(promptTokens: readonly number[]): Uint8Array {
    const pieces: Uint8Array[] = [];
    for (let i = promptTokens.length - 1, size = 0; i >= 0 && size < MOST_UTF8_BYTES; i--) {
      if (this.#isSkipped(promptTokens[i]!)) continue;
      const bytes = this.#tokenizer.tokenBytes(promptTokens[i]!);
      if (bytes.length === 0) continue;
      pieces.unshift(bytes);
      size += bytes.length;
    }
    return joinBytes(pieces);
  }
}

function textOf(held: readonly Uint8Array[]): string {
  if (held.length > 1) return UTF8.decode(joinBytes(held));
  const [bytes] = held as [Uint8Array];
  let text = TEXTS.get(bytes);
  if (text === undefined) TEXTS.set(bytes, text = UTF8.decode(bytes));
  return text;
}

function isContinuation(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80;
}

/** Follows bytes and tells whether they end in the beginning of a UTF-8 character. */
class Utf8Boundary {
  /** Of the last character, so far. */
  numBytes = 0;
  #missing = 0;

  get insideCharacter(): boolean {
    return this.#missing > 0;
  }

  push(byte: number): void {
    if (this.#missing > 0 && isContinuation(byte)) {
      this.#missing--;
      this.numBytes++;
    } else {
      this.#missing = continuationBytes(byte);
      this.numBytes = 1;
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

/**
 * A tokenizer for tests whose vocabulary is given: bytes, and what else is wanted.
 *
 * @module
 */
import type { Tokenizer } from "../../model/spec.ts";

/** Ids 0 to 255 are bytes, the words follow; `<...>` is special; `▁` is a space. */
export class ByteTokenizer implements Tokenizer {
  readonly bosToken = undefined;
  readonly eosToken = undefined;
  readonly #words: readonly string[];
  readonly #stripsLeadingSpace: boolean;

  constructor(words: readonly string[], options: { readonly stripsLeadingSpace?: boolean } = {}) {
    this.#words = words;
    this.#stripsLeadingSpace = options.stripsLeadingSpace ?? false;
  }

  get vocabSize(): number {
    return 256 + this.#words.length;
  }

  idOf(word: string): number {
    const index = this.#words.indexOf(word);
    if (index < 0) throw new Error(`No token ${word}`);
    return 256 + index;
  }

  encode(text: string): number[] {
    return [...new TextEncoder().encode(text)];
  }

  decode(
    tokens: readonly number[],
    options: { readonly skipSpecialTokens?: boolean } = {},
  ): string {
    const kept = tokens.filter((token) => !(options.skipSpecialTokens && this.isSpecial(token)));
    const bytes = Uint8Array.from(kept.flatMap((token) => [...this.tokenBytes(token)]));
    const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
    return this.#stripsLeadingSpace && text.startsWith(" ") ? text.slice(1) : text;
  }

  tokenText(token: number): string | undefined {
    return token < 256 ? `<0x${token.toString(16)}>` : this.#words[token - 256];
  }

  tokenBytes(token: number): Uint8Array {
    if (token < 256) return Uint8Array.of(token);
    return new TextEncoder().encode(this.#words[token - 256]!.replaceAll("▁", " "));
  }

  isSpecial(token: number): boolean {
    return token >= 256 && this.#words[token - 256]!.startsWith("<");
  }
}

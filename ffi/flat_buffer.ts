/**
 * The variable-length parts of a call, in one buffer that structs address by offset.
 *
 * @module
 */

/** Grows by appending; every part begins at a multiple of 8, which suits every element of hearth.h. */
export class FlatBuffer {
  readonly #parts: { readonly offset: number; readonly bytes: Uint8Array }[] = [];
  #byteLength = 0;

  get byteLength(): number {
    return this.#byteLength;
  }

  /** Offset in bytes of what was appended. */
  append(content: ArrayBufferView): number {
    const bytes = new Uint8Array(content.buffer, content.byteOffset, content.byteLength);
    const offset = Math.ceil(this.#byteLength / 8) * 8;
    this.#parts.push({ offset, bytes });
    this.#byteLength = offset + bytes.length;
    return offset;
  }

  /** UTF-8 without NUL. */
  appendText(text: string): { readonly offset: number; readonly bytes: number } {
    const encoded = new TextEncoder().encode(text);
    return { offset: this.append(encoded), bytes: encoded.length };
  }

  toBytes(): Uint8Array<ArrayBuffer> {
    const flat = new Uint8Array(this.#byteLength);
    for (const { offset, bytes } of this.#parts) flat.set(bytes, offset);
    return flat;
  }
}

/**
 * Memory of output that waits for its readers: bounded for one request, and for all of them together.
 *
 * @module
 */
import { EngineError } from "./types.ts";

/** What one request may keep of what all may. */
const REQUESTS_AT_LEAST = 4;

/** What one holder keeps, about. */
export interface UnreadShare {
  /** To be set whenever it changes. */
  bytes: number;
}

/** See the module's comment. Where all is too much, who keeps most gives up. */
export class UnreadOutput {
  readonly #maxBytes: number;
  readonly #shares = new Map<Share, () => void>();
  #bytes = 0;

  /** Keeps at most `maxBytes` of all. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** What one request may keep. */
  get maxRequestBytes(): number {
    return Math.floor(this.#maxBytes / REQUESTS_AT_LEAST);
  }

  /** Of all. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * A share, of 0 bytes: one that is back at 0 is forgotten.
   *
   * @param giveUp lets go of what is kept, all or a part; called while `bytes` of any share is set
   */
  open(giveUp: () => void): UnreadShare {
    return new Share((share, more) => this.#count(share, more, giveUp));
  }

  #count(share: Share, more: number, giveUp: () => void): void {
    this.#bytes += more;
    if (share.bytes > 0) this.#shares.set(share, giveUp);
    else this.#shares.delete(share);
    if (more <= 0) return;
    while (this.#bytes > this.#maxBytes) {
      const [largest, giveUp] = this.#largest();
      const { bytes } = largest;
      giveUp();
      if (largest.bytes >= bytes) return; // it has nothing to give
    }
  }

  #largest(): [Share, () => void] {
    return [...this.#shares].reduce((most, one) => one[0].bytes > most[0].bytes ? one : most);
  }
}

class Share implements UnreadShare {
  readonly #count: (share: Share, more: number) => void;
  #bytes = 0;

  constructor(count: (share: Share, more: number) => void) {
    this.#count = count;
  }

  get bytes(): number {
    return this.#bytes;
  }

  set bytes(bytes: number) {
    const more = bytes - this.#bytes;
    this.#bytes = bytes;
    this.#count(this, more);
  }
}

/** Of what is given up. */
export function outputTooLong(bytes: number): EngineError {
  return new EngineError(
    "output_too_long",
    `The output is longer than the ${bytes} bytes that are kept for who reads it: ` +
      "read faster, or ask for fewer tokens or logprobs",
  );
}

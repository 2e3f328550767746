/**
 * Looks over the bytes of a JSON text as they come, before anybody parses it.
 *
 * `JSON.parse` of 8 MB of brackets takes more than a second of the event loop, in which nobody is
 * served; of 8 MB of text 10 ms, of numbers 80 and as much again to look at each. So what costs is counted in the bytes first.
 *
 * @module
 */
import { HttpError } from "../dialects/http_error.ts";

/** Of one body, at most. The longest chats that are served have a hundredth of it. */
export const MAX_DEPTH = 64, MAX_CONTAINERS = 32_768, MAX_STRINGS = 131_072;
/** Of values that follow another: tokens of prompts. */
export const MAX_COMMAS = 1_048_576;

const QUOTE = 0x22, BACKSLASH = 0x5c, COMMA = 0x2c;
const OPEN_OBJECT = 0x7b, CLOSE_OBJECT = 0x7d, OPEN_ARRAY = 0x5b, CLOSE_ARRAY = 0x5d;

/** See the module's comment. Bytes that are no JSON pass: the parser says so better. */
export class BodyScan {
  #depth = 0;
  #containers = 0;
  #strings = 0;
  #commas = 0;
  #place: "outside" | "string" | "escape" = "outside";

  /** @throws {HttpError} 400 where a bound is exceeded */
  add(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at++) {
      if (this.#place !== "outside") at = this.#passString(bytes, at);
      else this.#look(bytes[at]!);
    }
  }

  #look(byte: number): void {
    switch (byte) {
      case QUOTE:
        if (++this.#strings > MAX_STRINGS) {
          refuse(`have at most ${MAX_STRINGS} strings, names included`);
        }
        this.#place = "string";
        break;
      case OPEN_OBJECT:
      case OPEN_ARRAY:
        if (++this.#containers > MAX_CONTAINERS) {
          refuse(`have at most ${MAX_CONTAINERS} objects and arrays`);
        }
        if (++this.#depth > MAX_DEPTH) refuse(`be nested at most ${MAX_DEPTH} levels deep`);
        break;
      case CLOSE_OBJECT:
      case CLOSE_ARRAY:
        this.#depth--;
        break;
      case COMMA:
        if (++this.#commas > MAX_COMMAS) refuse(`have at most ${MAX_COMMAS} values`);
    }
  }

  /** Where the last byte lies that was passed. */
  #passString(bytes: Uint8Array, from: number): number {
    let at = from;
    if (this.#place === "escape") at++;
    this.#place = "string";
    for (; at < bytes.length; at++) {
      if (bytes[at] === BACKSLASH) at++;
      else if (bytes[at] === QUOTE) {
        this.#place = "outside";
        return at;
      }
    }
    if (at > bytes.length) this.#place = "escape";
    return bytes.length;
  }
}

function refuse(rule: string): never {
  throw new HttpError(400, "invalid_value", `Cannot read request: the body must ${rule}`);
}

/**
 * Cuts a text into the pieces that are merged each by itself, as `pre_tokenizer` of a
 * `tokenizer.json` says.
 *
 * @module
 */
import { kindAt, NUMBER, runEnd } from "./characters.ts";
import { shownValue } from "./fields.ts";
import { digits, gpt2, knownScanner, type Scanner } from "./scanners.ts";

/** See the module's comment. */
export interface PreTokenizer {
  /**
   * What goes before cutting: a space in front.
   *
   * @param first the text is the beginning of all
   */
  readonly prepare: (text: string, first: boolean) => string;
  /** Each cuts the pieces that the one before it left. */
  readonly scanners: readonly Scanner[];
  /** The vocabulary is written in GPT-2's alphabet of bytes. */
  readonly byteLevel: boolean;
}

type Json = Readonly<Record<string, unknown>>;

/** @throws {Error} that names what is not supported */
export function preTokenizer(json: unknown): PreTokenizer {
  const steps = flat(json);
  const scanners: Scanner[] = [];
  let byteLevel = false;
  let prepare = (text: string, _first: boolean) => text;
  for (const [index, step] of steps.entries()) {
    switch (step["type"]) {
      case "Digits":
        scanners.push(step["individual_digits"] === true ? digits(1) : numbers);
        break;
      case "Split":
        scanners.push(split(step));
        break;
      case "ByteLevel":
        if (index < steps.length - 1) throw new Error("ByteLevel must be the last pre-tokenizer");
        // The file's default is true for both.
        if (step["add_prefix_space"] !== false) {
          if (index > 0) throw new Error("add_prefix_space after other pre-tokenizers is unknown");
          prepare = (text) => text === "" || text.startsWith(" ") ? text : ` ${text}`;
        }
        if (step["use_regex"] !== false) scanners.push(gpt2);
        byteLevel = true;
        break;
      case "Metaspace":
        if (steps.length > 1) throw new Error("Metaspace beside other pre-tokenizers is unknown");
        prepare = metaspace(step);
        if (step["split"] !== false) scanners.push(beforeEach(replacementOf(step)));
        break;
      default:
        throw new Error(`pre-tokenizer ${shownValue(step["type"])} is not supported`);
    }
  }
  return { prepare, scanners, byteLevel };
}

/** The pieces of a text that {@linkcode PreTokenizer.prepare} gave, in order. */
export class Pieces {
  readonly #scanners: readonly Scanner[];
  readonly #text: string;
  /** Where what each scanner cuts now ends; the first has the whole text. */
  readonly #ends: number[];
  /** Of the innermost scanner that has not come to its end. */
  #level = 0;
  #at = 0;

  constructor(scanners: readonly Scanner[], text: string) {
    this.#scanners = scanners;
    this.#text = text;
    this.#ends = [text.length];
  }

  /** undefined behind the last. */
  next(): string | undefined {
    const [scanners, text, ends, at] = [this.#scanners, this.#text, this.#ends, this.#at];
    if (at === text.length) return undefined;
    let level = this.#level;
    let end = ends[level]!;
    for (; level < scanners.length; level++) {
      end = scanners[level]!(text, at, end);
      ends[level + 1] = end;
    }
    while (level > 0 && ends[level] === end) level--;
    this.#level = level;
    this.#at = end;
    return text.slice(at, end);
  }
}

function flat(json: unknown): readonly Json[] {
  if (json === null) return [];
  const step = json as Json;
  if (step["type"] !== "Sequence") return [step];
  const steps = step["pretokenizers"];
  if (!Array.isArray(steps)) throw new Error("Sequence must have pretokenizers");
  return steps.flatMap(flat);
}

function split(step: Json): Scanner {
  const { String: plain, Regex: regex } = (step["pattern"] ?? {}) as Json;
  const [behavior, invert] = [step["behavior"], step["invert"] === true];
  if (typeof plain === "string" && plain !== "" && !invert) {
    if (behavior === "MergedWithPrevious") return afterEach(plain);
    if (behavior === "MergedWithNext") return beforeEach(plain);
    if (behavior === "Isolated") return around(plain);
  }
  const known = typeof regex === "string" ? knownScanner(regex) : undefined;
  if (known !== undefined) {
    if (behavior === "Isolated") return known.scan;
    // What is no match is removed, and there is nothing of the kind.
    if (behavior === "Removed" && invert && !known.hasGaps) return known.scan;
  }
  throw new Error(
    `Split with the pattern ${shownValue(regex ?? plain)}, ${shownValue(behavior)}` +
      `${invert ? ", inverted" : ""} is not supported`,
  );
}

/** Runs of digits, and what is between. */
function numbers(text: string, at: number, end: number): number {
  return runEnd(text, at, end, kindAt(text, at, end) & NUMBER ? NUMBER : ~NUMBER);
}

function afterEach(pattern: string): Scanner {
  return (text, at, end) => {
    const found = text.indexOf(pattern, at);
    return found < 0 || found >= end ? end : found + pattern.length;
  };
}

function beforeEach(pattern: string): Scanner {
  return (text, at, end) => {
    const from = text.startsWith(pattern, at) ? at + pattern.length : at;
    const found = text.indexOf(pattern, from);
    return found < 0 || found >= end ? end : found;
  };
}

function around(pattern: string): Scanner {
  return (text, at, end) => {
    if (text.startsWith(pattern, at)) return at + pattern.length;
    const found = text.indexOf(pattern, at);
    return found < 0 || found >= end ? end : found;
  };
}

function metaspace(step: Json): PreTokenizer["prepare"] {
  const sign = replacementOf(step);
  const scheme = step["prepend_scheme"] ??
    (step["add_prefix_space"] === false ? "never" : "always");
  if (scheme !== "always" && scheme !== "first" && scheme !== "never") {
    throw new Error(`Metaspace's prepend_scheme ${shownValue(scheme)} is not supported`);
  }
  return (text, first) => {
    const written = text.replaceAll(" ", sign);
    const prepends = scheme === "always" || scheme === "first" && first;
    return prepends && written !== "" && !written.startsWith(sign) ? sign + written : written;
  };
}

/** Decoding knows the usual sign alone. */
function replacementOf(step: Json): string {
  const sign = step["replacement"] ?? "▁";
  if (sign !== "▁") throw new Error(`Metaspace's replacement ${shownValue(sign)} is not supported`);
  return sign;
}

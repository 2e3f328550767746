/**
 * What a tokenizer does to a text before it is cut.
 *
 * @module
 */
import { shownValue } from "./fields.ts";
import { nfc } from "./nfc.ts";

/** Text to text. */
export type Normalize = (text: string) => string;

interface NormalizerJson {
  readonly type?: unknown;
  readonly normalizers?: readonly (NormalizerJson | null)[];
  readonly prepend?: unknown;
  readonly pattern?: { readonly String?: unknown };
  readonly content?: unknown;
}

/**
 * @returns undefined where the text stays as it is
 * @throws {Error} that names what is not supported
 */
export function normalizer(json: unknown): Normalize | undefined {
  const value = json as NormalizerJson | null;
  if (value === null) return undefined;
  switch (value.type) {
    case "NFC":
      return nfc;
    case "Prepend": {
      const prepend = text(value.prepend, "Prepend's prepend");
      return (input) => input === "" ? input : prepend + input;
    }
    case "Replace": {
      const pattern = text(value.pattern?.String, "Replace's pattern.String");
      const content = text(value.content, "Replace's content");
      const written = content.replaceAll("$", "$$$$"); // else a sign of replaceAll()
      return (input) => input.replaceAll(pattern, written);
    }
    case "Sequence": {
      if (!Array.isArray(value.normalizers)) throw new Error("Sequence must have normalizers");
      const steps = value.normalizers.map(normalizer).filter((step) => step !== undefined);
      return steps.length === 0
        ? undefined
        : (input) => steps.reduce((done, step) => step(done), input);
    }
    default:
      throw new Error(`normalizer ${shownValue(value.type)} is not supported`);
  }
}

function text(value: unknown, what: string): string {
  if (typeof value !== "string" || value === "") {
    throw new Error(`${what} must be text: current value is ${shownValue(value)}`);
  }
  return value;
}

/**
 * Which characters of a rendered conversation are text whatever they spell, for an encoder that makes added
 * tokens of the others alone.
 *
 * @module
 */
import type { RenderedText } from "../../model/jinja/template.ts";
import type { LiteralSpan } from "../../model/spec.ts";

/**
 * In a caller's characters (messages of users, systems and tools, documents, schemas of tools, variables) no
 * added token is found, in an assistant's none that is special: its `<think>` was one when the model wrote it,
 * and the next turn has to find the same blocks warm. In order, in UTF-16 offsets, none overlapping; what the
 * template itself wrote is in none.
 */
export function literalSpans({ spans }: Pick<RenderedText, "spans">): LiteralSpan[] {
  return spans.map(({ start, end, origin }) => [start, end, origin]);
}

/**
 * The pieces of a text at once.
 *
 * @module
 */
import { Pieces } from "../../model/pre_tokenizer.ts";
import type { Scanner } from "../../model/scanners.ts";

/** In order. */
export function cut(scanners: readonly Scanner[], text: string): string[] {
  const rest = new Pieces(scanners, text);
  const pieces: string[] = [];
  for (let piece = rest.next(); piece !== undefined; piece = rest.next()) pieces.push(piece);
  return pieces;
}

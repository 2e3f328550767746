/**
 * JSON in pieces, so that others have their turn between them.
 *
 * @module
 */
import { LazyList } from "../dialects/lazy_list.ts";

/** Characters of a piece, about: a millisecond or two. */
const PIECE_LENGTH = 1 << 16;

/** What `JSON.stringify` gives, cut where a piece is long enough. Items of lazy lists are made on the way. */
export function* jsonPieces(value: unknown): Generator<string, void, void> {
  let piece = "";
  for (const text of textsOf(value)) {
    piece += text;
    if (piece.length < PIECE_LENGTH) continue;
    yield piece;
    piece = "";
  }
  if (piece !== "") yield piece;
}

function* textsOf(value: unknown): Generator<string, void, void> {
  if (value instanceof LazyList) {
    let before = "[";
    for (const item of value) {
      yield before + (JSON.stringify(item) ?? "null");
      before = ",";
    }
    yield before === "[" ? "[]" : "]";
  } else if (Array.isArray(value) && typeof value[0] === "object") {
    for (const [i, item] of value.entries()) {
      yield i === 0 ? "[" : ",";
      yield* textsOf(item ?? null);
    }
    yield "]";
  } else if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    let before = "{";
    for (const [name, field] of Object.entries(value)) {
      if (field === undefined) continue;
      yield `${before}${JSON.stringify(name)}:`;
      yield* textsOf(field);
      before = ",";
    }
    yield before === "{" ? "{}" : "}";
  } else yield JSON.stringify(value);
}

/**
 * SentencePiece's vocabularies have no pre-tokenizer: a text is merged as a whole. Where no rule
 * makes a token that has a space's sign behind another character, nothing ever merges across the
 * beginning of a word, so that words can be merged each by itself, and be known from before.
 *
 * @module
 */
import { type BpeRules, byteTokens } from "./bpe.ts";
import type { Scanner } from "./scanners.ts";

const SIGN = "▁";
const SIGN_UNIT = SIGN.charCodeAt(0);

/** A scanner that cuts before words; none where that would change tokens. */
export function wordsOf(rules: BpeRules): readonly Scanner[] {
  // Unknown characters of two words may become one token, and a whole text may be one.
  if (rules.ignoreMerges || rules.fuseUnknown && rules.unknown !== undefined && !hasBytes(rules)) {
    return [];
  }
  for (const rule of rules.ranks.keys()) {
    if (rule.indexOf(SIGN, 1) > 0 && /[^▁]▁/.test(rule.replace(" ", ""))) return [];
  }
  return [word];
}

/** No character is unknown. */
function hasBytes({ byteFallback, ids }: BpeRules): boolean {
  return byteFallback && byteTokens.every((token) => ids.has(token));
}

/** Signs, and what follows up to the next sign. */
function word(text: string, at: number, end: number): number {
  while (at < end && text.charCodeAt(at) === SIGN_UNIT) at++;
  const next = text.indexOf(SIGN, at);
  return next < 0 || next > end ? end : next;
}

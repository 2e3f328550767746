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
const LINE_FEED = 10;

/** A scanner that cuts before words; none where that would change tokens. */
export function wordsOf(rules: BpeRules): readonly Scanner[] {
  const { ids, unknown } = rules;
  const allKnown = hasBytes(rules);
  // Unknown characters of two words may become one token, and a whole text may be one.
  if (rules.ignoreMerges || !allKnown && unknown !== undefined && rules.fuseUnknown) return [];
  if (!ids.has(SIGN)) return [];
  let mergesLines = false;
  for (const rule of rules.ranks.keys()) {
    if (rule.indexOf(SIGN, 1) > 0 && /[^▁]▁/.test(rule.replace(" ", ""))) return [];
    mergesLines ||= rule.includes("\n") || rule.includes("<0x0A>");
  }
  // Without a token of its own a line feed vanishes, and what is around it merges.
  const isToken = ids.has("\n") || allKnown || unknown !== undefined;
  return [words(isToken && !mergesLines)];
}

/** No character is unknown. */
function hasBytes({ byteFallback, ids }: BpeRules): boolean {
  return byteFallback && byteTokens.every((token) => ids.has(token));
}

/** Signs, and what follows up to the next sign; line feeds by themselves where nothing takes them in. */
function words(cutsLines: boolean): Scanner {
  const isLine = (text: string, at: number) => cutsLines && text.charCodeAt(at) === LINE_FEED;
  return (text, at, end) => {
    if (isLine(text, at)) return at + 1;
    while (at < end && text.charCodeAt(at) === SIGN_UNIT) at++;
    while (at < end && text.charCodeAt(at) !== SIGN_UNIT && !isLine(text, at)) at++;
    return at;
  };
}

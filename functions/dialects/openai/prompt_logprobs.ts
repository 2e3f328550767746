/**
 * Log probabilities of the prompt, in vLLM's shape.
 *
 * @module
 */
import type { PositionLogprobs, TokenLogprob } from "../../../engine/types.ts";
import type { Tokenizer } from "../../../model/spec.ts";
import { lazily, type LazyList } from "../lazy_list.ts";
import { finite, tokenString } from "../values.ts";

interface RankedLogprob {
  readonly logprob: number;
  readonly rank: number;
  readonly decoded_token: string;
}

/**
 * `{ prompt_logprobs }` with an object from token id to its log probability at each position, null
 * at the first; nothing when it was not asked for. `rank` counts from 1; 0 says that the token is
 * not among the likeliest that were asked for.
 */
export function promptLogprobsOf(
  positions: readonly (PositionLogprobs | undefined)[] | undefined,
  tokenizer: Tokenizer,
): { prompt_logprobs?: LazyList<Record<string, RankedLogprob> | null> } {
  if (positions === undefined) return {};
  const entry = ({ token, logprob }: TokenLogprob, rank: number) =>
    [
      token,
      { logprob: finite(logprob), rank, decoded_token: tokenString(tokenizer, token) },
    ] as const;
  return {
    prompt_logprobs: lazily(
      positions,
      (position) =>
        position === undefined ? null : Object.fromEntries([
          entry(position, 0),
          ...position.top.map((likely, i) => entry(likely, i + 1)),
        ]),
    ),
  };
}

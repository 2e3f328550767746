/**
 * How large a whole answer may be. A stream may be larger: it is told in pieces, and what of it waits for its
 * reader is bounded by itself.
 *
 * @module
 */
import type { GenerateRequest } from "../../engine/types.ts";
import { HttpError } from "../dialects/http_error.ts";

/** Log probabilities of one answer, the chosen tokens' among them. */
export const MAX_ANSWER_LOGPROBS = 1_048_576;

/**
 * Refuses what could only fail later: requests that ask for more than a whole answer may hold. One that leaves
 * `maxTokens` open is taken at its word once it ends.
 *
 * @throws {HttpError} 400 with the figure
 */
export function refuseLargeAnswer(requests: readonly GenerateRequest[]): void {
  const asked = requests.reduce((sum, { n = 1, maxTokens = 0, logprobs }) => {
    return logprobs === undefined ? sum : sum + n * maxTokens * (logprobs + 1);
  }, 0);
  if (asked <= MAX_ANSWER_LOGPROBS) return;
  const [{ n = 1, maxTokens, logprobs }] = requests as [GenerateRequest];
  const prompts = requests.length > 1 ? `${requests.length} prompts x ` : "";
  const message = "Cannot answer: a whole answer may hold at most " +
    `${MAX_ANSWER_LOGPROBS} log probabilities: ${prompts}n ${n} x ${maxTokens} tokens x ` +
    `${logprobs! + 1} are ${asked}; stream it, or ask for fewer`;
  throw new HttpError(400, "answer_too_large", message, "logprobs");
}

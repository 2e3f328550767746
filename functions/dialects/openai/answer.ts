/**
 * What the answers of OpenAI's two dialects share: head, usage, stream options.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import type { Run } from "../../../engine/types.ts";
import type { Answering } from "../dialect.ts";
import { refuseBody } from "../http_error.ts";
import { newId } from "../values.ts";

export const StreamOptions = z.object({
  include_usage: z.boolean().nullish().describe("A last chunk with usage and no choices"),
  continuous_usage_stats: z.boolean().nullish().describe("Usage in every chunk"),
}).openapi("StreamOptions");

export const Usage = z.object({
  prompt_tokens: z.int(),
  completion_tokens: z.int(),
  total_tokens: z.int(),
  prompt_tokens_details: z.object({
    cached_tokens: z.int().describe("Prompt tokens found in the warm KV cache"),
  }),
}).openapi("Usage");

/** @throws {HttpError} for stream options without a stream */
export function requireStream({ stream, stream_options }: {
  readonly stream?: boolean | null | undefined;
  readonly stream_options?: object | null | undefined;
}): void {
  if (!stream_options || stream) return;
  refuseBody("stream_options", "needs stream to be true");
}

/** @throws {HttpError} for log probabilities of a prompt in a stream, which has no place for them */
export function refusePromptLogprobsInStream({ stream, prompt_logprobs }: {
  readonly stream?: boolean | null | undefined;
  readonly prompt_logprobs?: number | null | undefined;
}): void {
  if (!stream || typeof prompt_logprobs !== "number") return;
  refuseBody("prompt_logprobs", "needs stream to be false");
}

/** Sums over runs; `n` sequences of one prompt count it once. */
export function usageOf(runs: readonly Run[]): z.infer<typeof Usage> {
  const sum = (count: (run: Run) => number) => runs.reduce((total, run) => total + count(run), 0);
  const prompt_tokens = sum(({ promptTokens }) => promptTokens.length);
  const completion_tokens = sum(({ numOutputTokens }) => numOutputTokens);
  return {
    prompt_tokens,
    completion_tokens,
    total_tokens: prompt_tokens + completion_tokens,
    prompt_tokens_details: { cached_tokens: sum(({ numCachedTokens }) => numCachedTokens) },
  };
}

/** Seconds since 1970. */
function now(): number {
  return Math.floor(Date.now() / 1000);
}

/** What an answer begins with, or every event of one. */
export function headOf<T extends string>(
  prefix: string,
  object: T,
  { model, fingerprint }: Answering,
) {
  return { id: newId(prefix), object, created: now(), model, system_fingerprint: fingerprint };
}

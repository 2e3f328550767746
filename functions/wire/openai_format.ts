/**
 * What OpenAI's two generating routes share: usage, ids, the model's name, stream options, log
 * probabilities.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import type { FinishReason, Run } from "../../engine/types.ts";
import type { Tokenizer } from "../../model/spec.ts";
import { HttpError } from "../errors.ts";
import type { Instance } from "../server/instance.ts";

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
  const message = "Cannot read request: stream_options needs stream to be true";
  throw new HttpError(400, "invalid_value", message, "stream_options");
}

/** @throws {HttpError} for log probabilities of a prompt in a stream, which has no place for them */
export function refusePromptLogprobsInStream({ stream, prompt_logprobs }: {
  readonly stream?: boolean | null | undefined;
  readonly prompt_logprobs?: number | null | undefined;
}): void {
  if (!stream || typeof prompt_logprobs !== "number") return;
  const message = "Cannot read request: prompt_logprobs needs stream to be false";
  throw new HttpError(400, "invalid_value", message, "prompt_logprobs");
}

/** Sums over generations; `n` sequences of one prompt count it once. */
export function usageOf(generations: readonly Run[]): z.infer<typeof Usage> {
  const sum = (count: (generation: Run) => number) =>
    generations.reduce((total, generation) => total + count(generation), 0);
  const prompt_tokens = sum(({ promptTokens }) => promptTokens.length);
  const completion_tokens = sum(({ numOutputTokens }) => numOutputTokens);
  return {
    prompt_tokens,
    completion_tokens,
    total_tokens: prompt_tokens + completion_tokens,
    prompt_tokens_details: { cached_tokens: sum(({ numCachedTokens }) => numCachedTokens) },
  };
}

/** `chatcmpl-` or `cmpl-` and 32 random hexadecimal digits. */
export function newId(prefix: string): string {
  return `${prefix}-${crypto.randomUUID().replaceAll("-", "")}`;
}

/** Seconds since 1970. */
export function now(): number {
  return Math.floor(Date.now() / 1000);
}

/** The name that answers carry. @throws {HttpError} 404 for a model that is not served */
export function servedModel(instance: Instance, asked: string | null | undefined): string {
  const names = instance.modelNames;
  if (asked === null || asked === undefined) return names[0]!;
  if (names.includes(asked)) return asked;
  throw new HttpError(
    404,
    "model_not_found",
    `Cannot find model ${JSON.stringify(asked.slice(0, 200))}: served is ${names.join(", ")}`,
    "model",
  );
}

/**
 * OpenAI's finish reasons as they are; `deadline` only meets callers that set one.
 *
 * @throws {HttpError} 503 when the server cut the request short
 */
export function finishReason(reason: FinishReason): string {
  if (reason !== "cancelled") return reason;
  throw new HttpError(503, "cancelled", "The request was cut short: the server is shutting down");
}

/** JSON has no infinity; -9999 is OpenAI's word for "never". */
export function finite(logprob: number): number {
  return Math.max(logprob, -9999);
}

/** A token as people read it; bytes that are half a character show as U+FFFD. */
export function tokenString(tokenizer: Tokenizer, token: number): string {
  return new TextDecoder().decode(tokenizer.tokenBytes(token));
}

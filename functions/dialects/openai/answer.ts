/**
 * What the answers of OpenAI's two dialects share: head, usage, stream options.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import type { GenerateChunk, Run } from "../../../engine/types.ts";
import type { Tokenizer } from "../../../model/spec.ts";
import type { Answering } from "../dialect.ts";
import { refuseBody } from "../http_error.ts";
import { finishReason, newId, tokenString } from "../values.ts";

/** What both bodies have beside the engine's fields. */
export const openAiFields = {
  best_of: z.int().min(1).nullish().describe("As many as n, of which all are answered"),
  return_token_ids: z.boolean().nullish().describe("Ids of prompt and output, too"),
  return_tokens_as_token_ids: z.boolean().nullish()
    .describe("Tokens of log probabilities are called `token_id:123`"),
};

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

/** @throws {HttpError} where more sequences would have to be drawn than are answered */
export function refuseBestOf({ best_of, n }: {
  readonly best_of?: number | null | undefined;
  readonly n?: number | null | undefined;
}): void {
  if ((best_of ?? 1) <= (n ?? 1)) return;
  refuseBody("best_of", `is not supported above n: current value is ${best_of}`);
}

/** How a choice ended. */
export const endFields = {
  finish_reason: z.enum(["stop", "length"]),
  stop_reason: z.union([z.string(), z.int()]).nullable()
    .describe("The stop text, or the token id, that ended it; `deadline` where time did"),
};

/** What a chunk says of {@linkcode endFields}. OpenAI has no word for a deadline: its clients refuse ours. */
export function endOf({ finishReason: reason, stopReason }: GenerateChunk) {
  const word = reason === null ? null : finishReason(reason);
  return word === "deadline"
    ? { finish_reason: "length", stop_reason: word }
    : { finish_reason: word, stop_reason: stopReason };
}

/** Names of tokens in log probabilities: their text, or vLLM's form for ids. */
export function tokenNames(
  tokenizer: Tokenizer,
  { return_tokens_as_token_ids: asIds }: {
    readonly return_tokens_as_token_ids?: boolean | null | undefined;
  },
): (token: number) => string {
  return asIds ? (token) => `token_id:${token}` : (token) => tokenString(tokenizer, token);
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

/** Usage in a stream: in no event, in one more behind the last, or in every one. */
export class StreamUsage {
  readonly #mode: "none" | "end" | "always";
  readonly #runs: readonly Run[];

  constructor(options: z.infer<typeof StreamOptions> | null | undefined, runs: readonly Run[]) {
    const { include_usage, continuous_usage_stats } = options ?? {};
    this.#mode = !include_usage ? "none" : continuous_usage_stats ? "always" : "end";
    this.#runs = runs;
  }

  /** To be spread into an event that has choices. */
  ofEvent(): { readonly usage?: z.infer<typeof Usage> | null } {
    if (this.#mode === "none") return {};
    return { usage: this.#mode === "always" ? usageOf(this.#runs) : null };
  }

  /** The event behind the last. */
  end(head: object): object[] {
    return this.#mode === "none" ? [] : [{ ...head, choices: [], usage: usageOf(this.#runs) }];
  }
}

/** Seconds since 1970. */
function now(): number {
  return Math.floor(Date.now() / 1000);
}

/** What an answer begins with, or every event of one. */
export function headOf(prefix: string, object: string, { model, fingerprint }: Answering) {
  return { id: newId(prefix), object, created: now(), model, system_fingerprint: fingerprint };
}

/**
 * The fields that say how tokens are chosen: their names on the wire, their bounds, and the way
 * from there to {@linkcode SamplingParameters}.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import type { SamplingParameters } from "../../engine/types.ts";
import { MAX_ITEMS } from "./bounded_body.ts";
import { present } from "./present.ts";

export const TokenId = z.int().min(0).max(0xffffffff);

/** Fields of OpenAI's that every route takes; null is as good as absent. */
const openAiFields = {
  n: z.int().min(1).max(128).nullish().describe("Continuations of one prompt [1]"),
  temperature: z.number().min(0).max(2).nullish().describe("0 is greedy [1]"),
  top_p: z.number().gt(0).max(1).nullish().describe("Nucleus sampling [1]"),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  seed: z.int().nullish().describe("The same seed gives the same text"),
  stop: z.union([z.string().min(1), z.array(z.string().min(1)).max(MAX_ITEMS.stop)], {
    error: "must be a string or an array of strings",
  }).nullish().describe("Texts that end the output; at most 16"),
  logit_bias: z.record(
    z.string().regex(/^\d{1,10}$/, "must have token ids as keys"),
    z.number().min(-100).max(100),
  ).nullish().describe("Token id to what is added to its logit; -100 bans it; at most 1024"),
};

/** vLLM's extensions. */
const extensionFields = {
  top_k: z.int().min(-1).max(0xffffffff).nullish().describe("0 and -1 are off [0]"),
  min_p: z.number().min(0).max(1).nullish(),
  repetition_penalty: z.number().gt(0).max(100).nullish().describe("1 is off [1]"),
  stop_token_ids: z.array(TokenId).max(MAX_ITEMS.stopTokenIds).nullish(),
  ignore_eos: z.boolean().nullish(),
  min_tokens: z.int().min(0).max(0xffffffff).nullish(),
  include_stop_str_in_output: z.boolean().nullish(),
  skip_special_tokens: z.boolean().nullish().describe("[true]"),
  prompt_logprobs: z.int().min(0).max(20).nullish(),
  bad_words_token_ids: z.array(z.array(TokenId).min(1).max(64)).max(MAX_ITEMS.badWords).nullish()
    .describe("Token sequences that may not appear"),
};

const MAX_SALT = 1024;

/** Fields about the request as a whole. */
const requestFields = {
  priority: z.int().min(-1000).max(1000).nullish().describe("0 goes first, then 1 [0]"),
  cache_salt: z.string().min(1).max(MAX_SALT).nullish()
    .describe("Requests share warm prompt blocks only under the same salt and API key"),
  deadline_ms: z.int().min(1).max(0x7fffffff).nullish()
    .describe("From now until the last token; refused at once where it cannot be met"),
};

/** To be spread into a request's schema. */
export const samplingFields = { ...openAiFields, ...extensionFields, ...requestFields };

/** An output length. */
export const maxTokensField = (least: 0 | 1) => z.int().min(least).max(0x7fffffff).nullish();

type SamplingBody = z.infer<z.ZodObject<typeof samplingFields>>;

/** What {@linkcode samplingFields} say, in the engine's words. */
export function toSampling(body: SamplingBody): SamplingParameters & {
  priority?: number;
  salt?: string;
  deadlineMs?: number;
} {
  const { stop, logit_bias, top_k } = body;
  return present({
    n: body.n,
    temperature: body.temperature,
    topP: body.top_p,
    presencePenalty: body.presence_penalty,
    frequencyPenalty: body.frequency_penalty,
    seed: body.seed,
    stop: typeof stop === "string" ? [stop] : stop,
    logitBias: logit_bias &&
      new Map(Object.entries(logit_bias).map(([token, bias]) => [Number(token), bias])),
    topK: top_k === -1 ? 0 : top_k,
    minP: body.min_p,
    repetitionPenalty: body.repetition_penalty,
    stopTokenIds: body.stop_token_ids,
    ignoreEos: body.ignore_eos,
    minTokens: body.min_tokens,
    includeStop: body.include_stop_str_in_output,
    skipSpecialTokens: body.skip_special_tokens,
    promptLogprobs: body.prompt_logprobs,
    badWords: body.bad_words_token_ids,
    priority: body.priority,
    salt: body.cache_salt,
    deadlineMs: body.deadline_ms,
  });
}

/**
 * A field that clients may send and that is not served: an error, never ignored. Values for which
 * `harmless` holds ask for nothing.
 */
export function unsupported(name: string, harmless: (value: unknown) => boolean = () => false) {
  return z.unknown().optional()
    .refine((value) => value === null || value === undefined || harmless(value), {
      error: "is not supported",
    })
    .openapi({ description: `Not supported: ${name}`, type: "object", deprecated: true });
}

/** For {@linkcode unsupported}. */
export const isFalse = (value: unknown) => value === false;
/** For {@linkcode unsupported}. */
export const isEmpty = (value: unknown) => Object.keys(value as object).length === 0;
const isTextFormat = (value: unknown) => (value as { type?: unknown }).type === "text";

/** Fields of OpenAI's and vLLM's two routes that change the answer there and are not served here. */
export const unsupportedFields = {
  response_format: unsupported("structured outputs", isTextFormat),
  structured_outputs: unsupported("structured outputs"),
  guided_json: unsupported("structured outputs"),
  guided_regex: unsupported("structured outputs"),
  guided_choice: unsupported("structured outputs"),
  guided_grammar: unsupported("structured outputs"),
  bad_words: unsupported("words; bad_words_token_ids is", isEmpty),
  allowed_token_ids: unsupported("a list of all that may be chosen"),
  truncate_prompt_tokens: unsupported("shortening of prompts"),
  use_beam_search: unsupported("beam search", isFalse),
  best_of: unsupported("best_of", (value) => value === 1),
  length_penalty: unsupported("beam search", (value) => value === 1),
  logits_processors: unsupported("logits processors", isEmpty),
  prompt_embeds: unsupported("embeddings as a prompt"),
  vllm_xargs: unsupported("arguments of plugins", isEmpty),
};

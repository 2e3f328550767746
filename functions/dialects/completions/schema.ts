/**
 * Bodies and answers of OpenAI's completions.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import { boundedList, MAX_ITEMS, tokenIds } from "../bounded.ts";
import { endFields, openAiFields, StreamOptions, Usage } from "../openai/answer.ts";
import { maxTokensField, requestFields } from "../request_fields.ts";
import { namesOf, refusing, UNSUPPORTED_IN_COMPLETIONS } from "../unsupported.ts";

const Prompt = z.union([
  z.string().min(1),
  boundedList(z.string().min(1), MAX_ITEMS.prompts, 1),
  tokenIds({ min: 1 }),
  boundedList(tokenIds({ min: 1 }), MAX_ITEMS.prompts, 1),
], { error: "must be a text, token ids, or an array of either" });

export const CompletionRequest = refusing(
  UNSUPPORTED_IN_COMPLETIONS,
  z.object({
    model: z.string().nullish(),
    prompt: Prompt,
    stream: z.boolean().nullish(),
    stream_options: StreamOptions.nullish(),
    max_tokens: maxTokensField(0).describe("Output tokens at most; 0 needs echo [16]"),
    echo: z.boolean().nullish().describe("The prompt comes before the output"),
    logprobs: z.int().min(0).max(20).nullish().describe("Of so many of the likeliest tokens"),
    ...requestFields,
    ...openAiFields,
  }),
).openapi("CompletionRequest", { description: namesOf(UNSUPPORTED_IN_COMPLETIONS) });

export type CompletionBody = z.infer<typeof CompletionRequest>;

/** One prompt: its text, or its token ids. */
export type OnePrompt = string | readonly number[];

/** Each prompt of a body alone. */
export function promptsOf({ prompt }: CompletionBody): readonly OnePrompt[] {
  if (typeof prompt === "string") return [prompt];
  return typeof prompt[0] === "number" ? [prompt as number[]] : prompt as OnePrompt[];
}

const LogprobOfToken = z.record(z.string(), z.number()).openapi("LogprobOfToken");

const CompletionLogprobs = z.object({
  tokens: z.array(z.string()),
  token_logprobs: z.array(z.number().nullable()),
  top_logprobs: z.array(LogprobOfToken.nullable())
    .describe("The likeliest and the chosen one; null for the first of a prompt"),
  text_offset: z.array(z.int()),
}).openapi("CompletionLogprobs");

export const Completion = z.object({
  id: z.string(),
  object: z.literal("text_completion"),
  created: z.int(),
  model: z.string(),
  system_fingerprint: z.string(),
  choices: z.array(z.object({
    index: z.int(),
    text: z.string(),
    logprobs: CompletionLogprobs.nullable(),
    ...endFields,
    token_ids: z.array(z.int()).optional(),
    prompt_token_ids: z.array(z.int()).optional(),
    prompt_logprobs: z.array(z.unknown()).optional(),
  })),
  usage: Usage,
}).openapi("Completion");

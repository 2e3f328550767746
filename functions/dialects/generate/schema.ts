/**
 * Bodies and answers of our own route.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import { tokenIds } from "../bounded.ts";
import { Messages } from "../chat_message.ts";
import { describeOne } from "../one_source.ts";
import { conversationFields, maxTokensField, requestFields } from "../request_fields.ts";

/** What is continued. */
export const GENERATE_SOURCES = { prompt: "string", tokens: "array", messages: "array" } as const;

export const GenerateBody = z.strictObject({
  model: z.string().nullish(),
  prompt: z.string().min(1).nullish(),
  tokens: tokenIds({ min: 1 }).nullish().openapi({ type: ["array", "null"] }),
  messages: Messages.nullish(),
  stream: z.boolean().nullish(),
  max_tokens: maxTokensField(0).describe(
    "Output tokens at most; 0 needs prompt_logprobs [what the context leaves]",
  ),
  logprobs: z.int().min(0).max(20).nullish().describe("Of so many of the likeliest tokens"),
  ...requestFields,
  ...conversationFields,
}).openapi("GenerateRequest", describeOne(GENERATE_SOURCES));

export type GenerateBody = z.infer<typeof GenerateBody>;

const TokenLogprob = z.object({ token: z.int(), logprob: z.number() });
const PositionLogprob = TokenLogprob.extend({ top: z.array(TokenLogprob) });

const GenerateUsage = z.object({
  prompt_tokens: z.int(),
  cached_tokens: z.int().describe("Prompt tokens found in the warm KV cache"),
  output_tokens: z.int(),
}).openapi("GenerateUsage");

export const GenerateAnswer = z.object({
  id: z.string(),
  model: z.string(),
  outputs: z.array(z.object({
    index: z.int(),
    text: z.string(),
    reasoning: z.string().optional().describe("What the model thought before, of `messages`"),
    tokens: z.array(z.int()),
    logprobs: z.array(PositionLogprob).optional(),
    finish_reason: z.enum(["stop", "length", "deadline"]),
    stop_reason: z.union([z.string(), z.int()]).nullable(),
  })),
  prompt_logprobs: z.array(PositionLogprob.nullable()).optional(),
  usage: GenerateUsage,
}).openapi("GenerateAnswer");

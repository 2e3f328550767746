/**
 * Bodies and answers of OpenAI's chat.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import { Messages } from "../chat_message.ts";
import { endFields, openAiFields, StreamOptions, Usage } from "../openai/answer.ts";
import { conversationFields, maxTokensField, requestFields } from "../request_fields.ts";
import { namesOf, refusing, UNSUPPORTED_IN_CHAT } from "../unsupported.ts";

export const ChatCompletionRequest = refusing(
  UNSUPPORTED_IN_CHAT,
  z.object({
    model: z.string().nullish(),
    messages: Messages,
    stream: z.boolean().nullish(),
    stream_options: StreamOptions.nullish(),
    max_completion_tokens: maxTokensField(1).describe(
      "Output tokens at most [what the context leaves]",
    ),
    max_tokens: maxTokensField(1).describe("Older name of max_completion_tokens"),
    logprobs: z.boolean().nullish(),
    top_logprobs: z.int().min(0).max(20).nullish().describe("Needs logprobs"),
    ...requestFields,
    include_reasoning: z.boolean().nullish()
      .describe("Of a model that reasons: tell what it thought, too [true]"),
    ...conversationFields,
    ...openAiFields,
    tool_choice: z.custom<"none" | "auto">((value) => value === "none" || value === "auto", {
      error: "is not supported",
    }).nullish().openapi({
      type: ["string", "null"],
      enum: ["none", "auto", null],
      description: "none is needed beside tools: no calls are read out of answers",
    }),
  }),
).openapi("ChatCompletionRequest", { description: namesOf(UNSUPPORTED_IN_CHAT) });

export type ChatBody = z.infer<typeof ChatCompletionRequest>;

const LogprobEntry = z.object({
  token: z.string(),
  logprob: z.number(),
  bytes: z.array(z.int()),
}).openapi("TokenLogprob");

const ChatLogprobs = z.object({
  content: z.array(
    LogprobEntry.extend({ top_logprobs: z.array(LogprobEntry) }).openapi("ChosenTokenLogprob"),
  ),
}).openapi("ChatLogprobs");

export const ChatCompletion = z.object({
  id: z.string(),
  object: z.literal("chat.completion"),
  created: z.int(),
  model: z.string(),
  system_fingerprint: z.string(),
  choices: z.array(z.object({
    index: z.int(),
    message: z.object({
      role: z.literal("assistant"),
      content: z.string(),
      refusal: z.null(),
      reasoning: z.string().optional().describe("What the model thought before it answered"),
      reasoning_content: z.string().optional().describe("The same, by its older name"),
    }),
    logprobs: ChatLogprobs.nullable(),
    ...endFields,
    token_ids: z.array(z.int()).optional(),
  })),
  usage: Usage,
  prompt_token_ids: z.array(z.int()).optional(),
  prompt_logprobs: z.array(z.unknown()).optional(),
}).openapi("ChatCompletion");

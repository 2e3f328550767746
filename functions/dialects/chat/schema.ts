/**
 * Bodies and answers of OpenAI's chat.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import { Messages } from "../chat_message.ts";
import { endFields, openAiFields, StreamOptions, Usage } from "../openai/answer.ts";
import { conversationFields, maxTokensField, requestFields } from "../request_fields.ts";
import { isEmpty, isFalse, unsupported, unsupportedFields } from "../unsupported.ts";

export const ChatCompletionRequest = z.object({
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
  tool_choice: unsupported(
    "tool calls; none tells the template of tools",
    (value) => value === "none" || value === "auto",
  ),
  functions: unsupported("tool calls", isEmpty),
  function_call: unsupported("tool calls", (value) => value === "none" || value === "auto"),
  ...unsupportedFields,
  modalities: unsupported("audio", (value) => JSON.stringify(value) === '["text"]'),
  audio: unsupported("audio"),
  prediction: unsupported("predicted outputs"),
  chat_template: unsupported("templates of the caller's"),
  echo: unsupported("echo", isFalse),
}).openapi("ChatCompletionRequest");

export type ChatBody = z.infer<typeof ChatCompletionRequest>;

const LogprobEntry = z.object({
  token: z.string(),
  logprob: z.number(),
  bytes: z.array(z.int()),
});

const ChatLogprobs = z.object({
  content: z.array(LogprobEntry.extend({ top_logprobs: z.array(LogprobEntry) })),
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

/**
 * Our own route, the smallest: a prompt, token ids or messages in; text and token ids out, as JSON or as
 * events. Fields that it does not know are errors here.
 *
 * @module
 */
import type { Dialect } from "../dialect.ts";
import { requireOne } from "../one_source.ts";
import { ErrorAnswer, openAiError } from "../openai/error_shape.ts";
import { present } from "../present.ts";
import { toConversation, toRequest } from "../request_fields.ts";
import { GENERATE_SOURCES, GenerateAnswer, GenerateBody } from "./schema.ts";
import { GenerateWriter } from "./writer.ts";

export const generate: Dialect<GenerateBody> = {
  operationId: "generate",
  summary: "Continue a prompt, token ids or a conversation",
  routes: ["/generate"],
  schema: GenerateBody,
  answer: {
    description: "The outputs; with `stream`, an event for each piece and a last one with usage",
    schema: GenerateAnswer,
  },
  toRequests(body) {
    requireOne(GENERATE_SOURCES, body);
    return [{
      ...toRequest(body),
      ...toConversation(body),
      ...present({
        prompt: body.prompt,
        tokens: body.tokens,
        messages: body.messages,
        maxTokens: body.max_tokens,
        logprobs: body.logprobs,
      }),
    }];
  },
  writer: (_body, answering) => new GenerateWriter(answering),
  errorShape: openAiError,
  errorSchema: ErrorAnswer,
  sse: { end: "[DONE]" },
};

/**
 * Our own route, the smallest: a prompt, token ids or messages in; text and token ids out, as JSON or as
 * events. Fields that it does not know are errors here.
 *
 * @module
 */
import type { Dialect } from "../dialect.ts";
import { HttpError } from "../http_error.ts";
import { ErrorAnswer, openAiError } from "../openai/error_shape.ts";
import { present } from "../present.ts";
import { toConversation, toRequest } from "../request_fields.ts";
import { GenerateAnswer, GenerateBody } from "./schema.ts";
import { GenerateWriter } from "./writer.ts";

export const generate: Dialect<GenerateBody> = {
  summary: "Continue a prompt, token ids or a conversation",
  routes: ["/generate"],
  schema: GenerateBody,
  answer: {
    description: "The outputs; with `stream`, an event for each piece and a last one with usage",
    schema: GenerateAnswer,
  },
  toRequests(body) {
    requireOneSource(body);
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

function requireOneSource(body: GenerateBody): void {
  const sources = (["prompt", "tokens", "messages"] as const)
    .filter((field) => body[field] !== null && body[field] !== undefined);
  if (sources.length === 1) return;
  const given = sources.length === 0 ? "none" : sources.join(", ");
  const message =
    `Cannot read request: give exactly one of prompt, tokens, messages: given are ${given}`;
  throw new HttpError(400, "invalid_value", message, sources[1] ?? "prompt");
}

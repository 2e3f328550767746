/**
 * OpenAI's chat: messages in, an assistant's message out, whole or as deltas.
 *
 * @module
 */
import type { Dialect } from "../dialect.ts";
import { refuseBody } from "../http_error.ts";
import { refuseBestOf, refusePromptLogprobsInStream, requireStream } from "../openai/answer.ts";
import { ErrorAnswer, openAiError } from "../openai/error_shape.ts";
import { present } from "../present.ts";
import { toConversation, toRequest } from "../request_fields.ts";
import { type ChatBody, ChatCompletion, ChatCompletionRequest } from "./schema.ts";
import { ChatWriter } from "./writer.ts";

export const chat: Dialect<ChatBody> = {
  operationId: "createChatCompletion",
  summary: "Answer a conversation",
  routes: ["/v1/chat/completions", "/chat/completions"],
  schema: ChatCompletionRequest,
  answer: {
    description: "The answer; with `stream`, server-sent events of `chat.completion.chunk`",
    schema: ChatCompletion,
  },
  toRequests(body) {
    requireStream(body);
    refuseBestOf(body);
    refusePromptLogprobsInStream(body);
    if (body.top_logprobs && !body.logprobs) {
      refuseBody("top_logprobs", "needs logprobs to be true");
    }
    refuseToolCalls(body);
    return [{
      messages: body.messages,
      ...toConversation(body),
      ...toRequest(body),
      ...present({
        maxTokens: body.max_completion_tokens ?? body.max_tokens,
        logprobs: body.logprobs ? body.top_logprobs ?? 0 : undefined,
      }),
    }];
  },
  names: ({ max_completion_tokens }) =>
    typeof max_completion_tokens === "number" ? { maxTokens: "max_completion_tokens" } : {},
  writer: (body, answering) => new ChatWriter(body, answering),
  errorShape: openAiError,
  errorSchema: ErrorAnswer,
  sse: { end: "[DONE]" },
};

/** Where nothing is said OpenAI's default is "auto", and whoever sends that waits for calls. */
function refuseToolCalls({ tools, tool_choice }: ChatBody): void {
  if (!tools?.length || tool_choice === "none") return;
  refuseBody("tool_choice", 'must be "none" beside tools: no calls are read out of answers');
}

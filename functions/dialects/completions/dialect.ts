/**
 * OpenAI's older route: continues texts or token ids, several at a time.
 *
 * @module
 */
import type { GenerateRequest } from "../../../engine/types.ts";
import { MAX_ITEMS } from "../bounded.ts";
import type { Dialect } from "../dialect.ts";
import { refuseBody } from "../http_error.ts";
import { refuseBestOf, refusePromptLogprobsInStream, requireStream } from "../openai/answer.ts";
import { ErrorAnswer, openAiError } from "../openai/error_shape.ts";
import { present } from "../present.ts";
import { toRequest } from "../request_fields.ts";
import {
  Completion,
  type CompletionBody,
  CompletionRequest,
  type OnePrompt,
  promptsOf,
} from "./schema.ts";
import { CompletionWriter } from "./writer.ts";

/** OpenAI's default. */
const MAX_TOKENS = 16;

export const completions: Dialect<CompletionBody> = {
  operationId: "createCompletion",
  summary: "Continue texts",
  routes: ["/v1/completions", "/completions"],
  schema: CompletionRequest,
  answer: {
    description: "The continuations; with `stream`, server-sent events",
    schema: Completion,
  },
  toRequests(body) {
    requireStream(body);
    refuseBestOf(body);
    refusePromptLogprobsInStream(body);
    const prompts = promptsOf(body);
    const numChoices = prompts.length * (body.n ?? 1);
    if (numChoices > MAX_ITEMS.prompts) {
      const rule = `times the number of prompts must be at most ${MAX_ITEMS.prompts}`;
      refuseBody("n", `${rule}: current value is ${numChoices}`);
    }
    return prompts.map((prompt) => ({ ...toRequest(body), ...continuation(body, prompt) }));
  },
  names(body, i) {
    const prompt = promptsOf(body).length > 1 ? `prompt[${i}]` : "prompt";
    return { prompt, tokens: prompt };
  },
  writer: (body, answering) => new CompletionWriter(body, answering),
  errorShape: openAiError,
  errorSchema: ErrorAnswer,
  sse: { end: "[DONE]" },
};

function continuation(body: CompletionBody, prompt: OnePrompt): GenerateRequest {
  const maxTokens = body.max_tokens ?? MAX_TOKENS;
  if (maxTokens === 0 && !body.echo) {
    refuseBody("max_tokens", "must be >= 1 without echo: current value is 0");
  }
  const logprobs = body.logprobs ?? undefined;
  // With echo the prompt's log probabilities come before the output's. Nothing but the prompt still
  // runs through the model, for its log probabilities.
  const promptLogprobs = body.prompt_logprobs ??
    (body.echo ? logprobs ?? (maxTokens === 0 ? 0 : undefined) : undefined);
  return {
    ...(typeof prompt === "string" ? { prompt } : { tokens: prompt }),
    maxTokens,
    ...present({ logprobs, promptLogprobs }),
  };
}

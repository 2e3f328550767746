/**
 * `POST /v1/chat/completions`: OpenAI's chat, as JSON or as a stream of deltas.
 *
 * @module
 */
import { createRoute, OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { GenerateRequest, PositionLogprobs, Run } from "../engine/types.ts";
import type { TemplateMessage, Tokenizer } from "../model/spec.ts";
import { Message, toTemplateMessage } from "./wire/chat_message.ts";
import type { Env } from "./env.ts";
import { HttpError, rejectInvalid } from "./errors.ts";
import { boundedBody, MAX_ITEMS } from "./wire/bounded_body.ts";
import { eventStreamContent, generateErrors } from "./wire/error_responses.ts";
import { eventStream } from "./wire/event_stream.ts";
import { lateJson } from "./wire/late_json.ts";
import { warmEngine } from "./server/instance.ts";
import {
  finishReason,
  finite,
  newId,
  now,
  refusePromptLogprobsInStream,
  requireStream,
  servedModel,
  StreamOptions,
  tokenString,
  Usage,
  usageOf,
} from "./wire/openai_format.ts";
import { present } from "./wire/present.ts";
import { promptLogprobsOf } from "./wire/prompt_logprobs.ts";
import { submitAll } from "./wire/run_generation.ts";
import {
  isEmpty,
  isFalse,
  maxTokensField,
  samplingFields,
  toSampling,
  unsupported,
  unsupportedFields,
} from "./wire/sampling.ts";
import { withEngine } from "./server/with_engine.ts";

export const ChatCompletionRequest = z.object({
  model: z.string().nullish(),
  messages: z.array(Message).min(1).max(MAX_ITEMS.messages),
  stream: z.boolean().nullish(),
  stream_options: StreamOptions.nullish(),
  max_completion_tokens: maxTokensField(1).describe(
    "Output tokens at most [what the context leaves]",
  ),
  max_tokens: maxTokensField(1).describe("Older name of max_completion_tokens"),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(20).nullish().describe("Needs logprobs"),
  ...samplingFields,
  add_generation_prompt: z.boolean().nullish().refine((value) => value !== false, {
    error: "must be true",
  }),
  return_token_ids: z.boolean().nullish(),
  tools: unsupported("tool calls", isEmpty),
  tool_choice: unsupported("tool calls", (value) => value === "none" || value === "auto"),
  functions: unsupported("tool calls", isEmpty),
  function_call: unsupported("tool calls", (value) => value === "none" || value === "auto"),
  ...unsupportedFields,
  continue_final_message: unsupported("going on with the last message", isFalse),
  chat_template_kwargs: unsupported("arguments of templates", isEmpty),
  documents: unsupported("documents", isEmpty),
  modalities: unsupported("audio", (value) => JSON.stringify(value) === '["text"]'),
  audio: unsupported("audio"),
  prediction: unsupported("predicted outputs"),
  chat_template: unsupported("templates of the caller's"),
  echo: unsupported("echo", isFalse),
}).openapi("ChatCompletionRequest");

type ChatBody = z.infer<typeof ChatCompletionRequest>;

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
    }),
    logprobs: ChatLogprobs.nullable(),
    finish_reason: z.string(),
    stop_reason: z.union([z.string(), z.int()]).nullable(),
    token_ids: z.array(z.int()).optional(),
  })),
  usage: Usage,
  prompt_token_ids: z.array(z.int()).optional(),
  prompt_logprobs: z.array(z.unknown()).optional(),
}).openapi("ChatCompletion");

const route = createRoute({
  method: "post",
  path: "/v1/chat/completions",
  summary: "Answer a conversation",
  middleware: [warmEngine, boundedBody] as const,
  request: {
    body: { required: true, content: { "application/json": { schema: ChatCompletionRequest } } },
  },
  responses: {
    200: {
      description: "The answer; with `stream`, server-sent events of `chat.completion.chunk`",
      content: { "application/json": { schema: ChatCompletion }, ...eventStreamContent },
    },
    ...generateErrors,
  },
});

/** The function, to be mounted. */
export const chatCompletions = new OpenAPIHono<Env>({ defaultHook: rejectInvalid });

chatCompletions.openapi(route, async (c) => {
  const body = c.req.valid("json");
  const model = servedModel(c.var.instance, body.model);
  requireStream(body);
  refusePromptLogprobsInStream(body);
  const names = typeof body.max_completion_tokens === "number"
    ? { maxTokens: "max_completion_tokens" }
    : {};
  const [generation] = await submitAll(c, [toGenerateRequest(body)], names);
  const answer = new Answer(c, body, model, generation!);
  const cancel = () => generation!.cancel();
  // Neither response has a type that the route's schema could be compared with.
  return (body.stream
    ? eventStream(c, answer.events(), { cancel })
    : await lateJson(c, answer.whole(), cancel)) as never;
});

export default withEngine(chatCompletions);

function toGenerateRequest(body: ChatBody): GenerateRequest {
  if (typeof body.top_logprobs === "number" && !body.logprobs) {
    throw new HttpError(
      400,
      "invalid_value",
      "Cannot read request: top_logprobs needs logprobs to be true",
      "top_logprobs",
    );
  }
  const messages: TemplateMessage[] = body.messages.map(toTemplateMessage);
  return {
    messages,
    ...toSampling(body),
    ...present({
      maxTokens: body.max_completion_tokens ?? body.max_tokens,
      logprobs: body.logprobs ? body.top_logprobs ?? 0 : undefined,
    }),
  };
}

/** One conversation's answer, in either of its two forms. */
class Answer {
  readonly #id = newId("chatcmpl");
  readonly #created = now();
  readonly #tokenizer: Tokenizer;

  constructor(
    readonly c: Context<Env>,
    readonly body: ChatBody,
    readonly model: string,
    readonly generation: Run,
  ) {
    this.#tokenizer = c.var.engine.model.tokenizer;
  }

  #head<T extends string>(object: T) {
    return {
      id: this.#id,
      object,
      created: this.#created,
      model: this.model,
      system_fingerprint: this.c.var.engine.fingerprint,
    };
  }

  async whole(): Promise<z.infer<typeof ChatCompletion>> {
    const { sequences } = await this.generation.result();
    return {
      ...this.#head("chat.completion"),
      choices: sequences.map((sequence, index) => ({
        index,
        message: { role: "assistant", content: sequence.text, refusal: null },
        logprobs: this.#logprobs(sequence.logprobs),
        finish_reason: finishReason(sequence.finishReason),
        stop_reason: sequence.stopReason,
        ...(this.body.return_token_ids && { token_ids: [...sequence.tokens] }),
      })),
      usage: usageOf([this.generation]),
      ...(this.body.return_token_ids && { prompt_token_ids: [...this.generation.promptTokens] }),
      ...promptLogprobsOf(this.generation, this.#tokenizer),
    };
  }

  async *events(): AsyncGenerator<object> {
    const { generation, body } = this;
    const head = this.#head("chat.completion.chunk");
    const { include_usage, continuous_usage_stats } = body.stream_options ?? {};
    const chunk = (choices: readonly object[]) => ({
      ...head,
      choices,
      ...(include_usage && { usage: continuous_usage_stats ? usageOf([generation]) : null }),
    });

    for (let index = 0; index < (body.n ?? 1); index++) {
      yield chunk([{
        index,
        delta: { role: "assistant", content: "" },
        logprobs: null,
        finish_reason: null,
        ...(body.return_token_ids && index === 0 &&
          { prompt_token_ids: [...generation.promptTokens] }),
      }]);
    }
    for await (const piece of generation) {
      const ended = piece.finishReason !== null;
      if (piece.text === "" && !ended && !piece.logprobs?.length && !body.return_token_ids) {
        continue;
      }
      yield chunk([{
        index: piece.index,
        delta: piece.text === "" && ended ? {} : { content: piece.text },
        logprobs: this.#logprobs(piece.logprobs),
        finish_reason: piece.finishReason === null ? null : finishReason(piece.finishReason),
        ...(ended && { stop_reason: piece.stopReason }),
        ...(body.return_token_ids && { token_ids: piece.tokens }),
      }]);
    }
    if (include_usage) yield { ...head, choices: [], usage: usageOf([generation]) };
  }

  #logprobs(positions: readonly PositionLogprobs[] | undefined) {
    if (!this.body.logprobs) return null;
    const entry = ({ token, logprob }: { token: number; logprob: number }) => ({
      token: tokenString(this.#tokenizer, token),
      logprob: finite(logprob),
      bytes: [...this.#tokenizer.tokenBytes(token)],
    });
    return {
      content: (positions ?? []).map((position) => ({
        ...entry(position),
        top_logprobs: position.top.slice(0, this.body.top_logprobs ?? 0).map(entry),
      })),
    };
  }
}

/**
 * `POST /v1/completions`: OpenAI's older route, which continues texts or token ids.
 *
 * @module
 */
import { createRoute, OpenAPIHono, z } from "@hono/zod-openapi";
import type { GenerateRequest } from "../engine/types.ts";
import { CompletionAnswer } from "./wire/completion_answer.ts";
import type { Env } from "./env.ts";
import { HttpError, rejectInvalid } from "./errors.ts";
import { boundedBody, MAX_ITEMS } from "./wire/bounded_body.ts";
import { eventStreamContent, generateErrors } from "./wire/error_responses.ts";
import { eventStream } from "./wire/event_stream.ts";
import { lateJson } from "./wire/late_json.ts";
import { warmEngine } from "./server/instance.ts";
import {
  refusePromptLogprobsInStream,
  requireStream,
  servedModel,
  StreamOptions,
  Usage,
} from "./wire/openai_format.ts";
import { present } from "./wire/present.ts";
import { submitAll } from "./wire/run_generation.ts";
import {
  maxTokensField,
  samplingFields,
  TokenId,
  toSampling,
  unsupported,
  unsupportedFields,
} from "./wire/sampling.ts";
import { withEngine } from "./server/with_engine.ts";

/** OpenAI's default. */
const MAX_TOKENS = 16;

const Prompt = z.union([
  z.string().min(1),
  z.array(z.string().min(1)).min(1).max(MAX_ITEMS.prompts),
  z.array(TokenId).min(1),
  z.array(z.array(TokenId).min(1)).min(1).max(MAX_ITEMS.prompts),
], { error: "must be a text, token ids, or an array of either" });

export const CompletionRequest = z.object({
  model: z.string().nullish(),
  prompt: Prompt,
  stream: z.boolean().nullish(),
  stream_options: StreamOptions.nullish(),
  max_tokens: maxTokensField(0).describe("Output tokens at most; 0 needs echo [16]"),
  echo: z.boolean().nullish().describe("The prompt comes before the output"),
  logprobs: z.int().min(0).max(20).nullish().describe("Of so many of the likeliest tokens"),
  ...samplingFields,
  add_special_tokens: z.boolean().nullish().describe("BOS and the like before a text [true]"),
  return_token_ids: z.boolean().nullish(),
  suffix: unsupported("insertion before a suffix", (value) => value === ""),
  ...unsupportedFields,
}).openapi("CompletionRequest");

export type CompletionBody = z.infer<typeof CompletionRequest>;

const CompletionLogprobs = z.object({
  tokens: z.array(z.string()),
  token_logprobs: z.array(z.number().nullable()),
  top_logprobs: z.array(z.record(z.string(), z.number()).nullable()).nullable(),
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
    finish_reason: z.string(),
    stop_reason: z.union([z.string(), z.int()]).nullable(),
    token_ids: z.array(z.int()).optional(),
    prompt_token_ids: z.array(z.int()).optional(),
    prompt_logprobs: z.array(z.unknown()).optional(),
  })),
  usage: Usage,
}).openapi("Completion");

const route = createRoute({
  method: "post",
  path: "/v1/completions",
  summary: "Continue texts",
  middleware: [warmEngine, boundedBody] as const,
  request: {
    body: { required: true, content: { "application/json": { schema: CompletionRequest } } },
  },
  responses: {
    200: {
      description: "The continuations; with `stream`, server-sent events",
      content: { "application/json": { schema: Completion }, ...eventStreamContent },
    },
    ...generateErrors,
  },
});

/** The function, to be mounted. */
export const completions = new OpenAPIHono<Env>({ defaultHook: rejectInvalid });

completions.openapi(route, async (c) => {
  const body = c.req.valid("json");
  const model = servedModel(c.var.instance, body.model);
  requireStream(body);
  refusePromptLogprobsInStream(body);
  const prompts = splitPrompt(body.prompt);
  const numChoices = prompts.length * (body.n ?? 1);
  if (numChoices > 128) {
    refuse("n", `prompts times n must be at most 128: current value is ${numChoices}`);
  }
  const requests = prompts.map((prompt) => toRequest(body, prompt));
  const generations = await submitAll(c, requests, { tokens: "prompt" });
  const answer = new CompletionAnswer(c, body, model, prompts, generations);
  const cancel = () => generations.forEach((generation) => generation.cancel());
  // Neither response has a type that the route's schema could be compared with.
  return (body.stream
    ? eventStream(c, answer.events(), { cancel })
    : await lateJson(c, answer.whole(), cancel)) as never;
});

export default withEngine(completions);

/** One prompt: its text, or its token ids. */
export type OnePrompt = string | readonly number[];

function splitPrompt(prompt: z.infer<typeof Prompt>): readonly OnePrompt[] {
  if (typeof prompt === "string") return [prompt];
  return typeof prompt[0] === "number" ? [prompt as number[]] : prompt as OnePrompt[];
}

function toRequest(body: CompletionBody, prompt: OnePrompt): GenerateRequest {
  const maxTokens = body.max_tokens ?? MAX_TOKENS;
  if (maxTokens === 0 && !body.echo) {
    refuse("max_tokens", "max_tokens must be >= 1 without echo: current value is 0");
  }
  const logprobs = body.logprobs ?? undefined;
  // With echo the prompt's log probabilities come before the output's. Nothing but the prompt still
  // runs through the model, for its log probabilities.
  const promptLogprobs = body.prompt_logprobs ??
    (body.echo ? logprobs ?? (maxTokens === 0 ? 0 : undefined) : undefined);
  return {
    ...toSampling(body),
    ...present({
      addSpecialTokens: typeof prompt === "string" ? body.add_special_tokens : undefined,
      logprobs,
      promptLogprobs,
    }),
    ...(typeof prompt === "string" ? { prompt } : { tokens: prompt }),
    maxTokens,
  };
}

function refuse(param: string, what: string): never {
  throw new HttpError(400, "invalid_value", `Cannot read request: ${what}`, param);
}

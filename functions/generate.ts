/**
 * `POST /generate`: the smallest route. A prompt, token ids or messages in; text and token ids out,
 * as JSON or as events. Fields that it does not know are errors here.
 *
 * @module
 */
import { createRoute, OpenAPIHono, z } from "@hono/zod-openapi";
import type { GenerateRequest, PositionLogprobs, Run } from "../engine/types.ts";
import { Message, toTemplateMessage } from "./wire/chat_message.ts";
import type { Env } from "./env.ts";
import { HttpError, rejectInvalid } from "./errors.ts";
import { boundedBody, MAX_ITEMS } from "./wire/bounded_body.ts";
import { eventStreamContent, generateErrors } from "./wire/error_responses.ts";
import { eventStream } from "./wire/event_stream.ts";
import { lateJson } from "./wire/late_json.ts";
import { warmEngine } from "./server/instance.ts";
import { finishReason, finite, newId, servedModel } from "./wire/openai_format.ts";
import { present } from "./wire/present.ts";
import { submitAll } from "./wire/run_generation.ts";
import { maxTokensField, samplingFields, TokenId, toSampling } from "./wire/sampling.ts";
import { withEngine } from "./server/with_engine.ts";

export const GenerateBody = z.strictObject({
  model: z.string().nullish(),
  prompt: z.string().min(1).nullish(),
  tokens: z.array(TokenId).min(1).nullish(),
  messages: z.array(Message).min(1).max(MAX_ITEMS.messages).nullish(),
  stream: z.boolean().nullish(),
  max_tokens: maxTokensField(0).describe(
    "Output tokens at most; 0 needs prompt_logprobs [what the context leaves]",
  ),
  logprobs: z.int().min(0).max(20).nullish().describe("Of so many of the likeliest tokens"),
  ...samplingFields,
  add_special_tokens: z.boolean().nullish().describe("BOS and the like before `prompt` [true]"),
}).openapi("GenerateRequest");

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
    tokens: z.array(z.int()),
    logprobs: z.array(PositionLogprob).optional(),
    finish_reason: z.string(),
    stop_reason: z.union([z.string(), z.int()]).nullable(),
  })),
  prompt_logprobs: z.array(PositionLogprob.nullable()).optional(),
  usage: GenerateUsage,
}).openapi("GenerateAnswer");

const route = createRoute({
  method: "post",
  path: "/generate",
  summary: "Continue a prompt, token ids or a conversation",
  middleware: [warmEngine, boundedBody] as const,
  request: {
    body: { required: true, content: { "application/json": { schema: GenerateBody } } },
  },
  responses: {
    200: {
      description: "The outputs; with `stream`, an event for each piece and a last one with usage",
      content: { "application/json": { schema: GenerateAnswer }, ...eventStreamContent },
    },
    ...generateErrors,
  },
});

/** The function, to be mounted. */
export const generate = new OpenAPIHono<Env>({ defaultHook: rejectInvalid });

generate.openapi(route, async (c) => {
  const body = c.req.valid("json");
  const model = servedModel(c.var.instance, body.model);
  const [generation] = await submitAll(c, [toRequest(body)]);
  const cancel = () => generation!.cancel();
  // Neither response has a type that the route's schema could be compared with.
  return (body.stream
    ? eventStream(c, events(generation!), { cancel })
    : await lateJson(c, whole(model, generation!), cancel)) as never;
});

export default withEngine(generate);

function toRequest(body: z.infer<typeof GenerateBody>): GenerateRequest {
  const sources = (["prompt", "tokens", "messages"] as const)
    .filter((field) => body[field] !== null && body[field] !== undefined);
  if (sources.length !== 1) {
    const given = sources.length === 0 ? "none" : sources.join(", ");
    throw new HttpError(
      400,
      "invalid_value",
      `Cannot read request: give exactly one of prompt, tokens, messages: given are ${given}`,
      sources[1] ?? "prompt",
    );
  }
  return {
    ...toSampling(body),
    ...present({
      prompt: body.prompt,
      tokens: body.tokens,
      messages: body.messages?.map(toTemplateMessage),
      maxTokens: body.max_tokens,
      logprobs: body.logprobs,
      addSpecialTokens: body.add_special_tokens,
    }),
  };
}

async function whole(
  model: string,
  generation: Run,
): Promise<z.infer<typeof GenerateAnswer>> {
  const { sequences } = await generation.result();
  return {
    id: newId("gen"),
    model,
    outputs: sequences.map(({ index, text, tokens, logprobs, ...sequence }) => ({
      index,
      text,
      tokens: [...tokens],
      ...(logprobs && { logprobs: logprobs.map(onWire) }),
      finish_reason: finishReason(sequence.finishReason),
      stop_reason: sequence.stopReason,
    })),
    ...promptLogprobs(generation),
    usage: usageOf(generation),
  };
}

async function* events(generation: Run): AsyncGenerator<object> {
  for await (const { index, text, tokens, logprobs, ...end } of generation) {
    yield {
      index,
      text,
      tokens,
      ...(logprobs && { logprobs: logprobs.map(onWire) }),
      finish_reason: end.finishReason === null ? null : finishReason(end.finishReason),
      stop_reason: end.stopReason,
    };
  }
  yield { ...promptLogprobs(generation), usage: usageOf(generation) };
}

function usageOf({ promptTokens, numCachedTokens, numOutputTokens }: Run) {
  return {
    prompt_tokens: promptTokens.length,
    cached_tokens: numCachedTokens,
    output_tokens: numOutputTokens,
  };
}

function promptLogprobs(generation: Run) {
  const positions = generation.promptLogprobs;
  return present({
    prompt_logprobs: positions?.map((position) => position === undefined ? null : onWire(position)),
  });
}

function onWire({ token, logprob, top }: PositionLogprobs) {
  return {
    token,
    logprob: finite(logprob),
    top: top.map((one) => ({ token: one.token, logprob: finite(one.logprob) })),
  };
}

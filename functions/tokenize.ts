/**
 * `POST /tokenize`: text or messages in, token ids out, without touching the model.
 *
 * @module
 */
import { createRoute, OpenAPIHono, z } from "@hono/zod-openapi";
import { Message, toTemplateMessage } from "./wire/chat_message.ts";
import type { Env, ServedEngine } from "./env.ts";
import { HttpError, rejectInvalid } from "./errors.ts";
import { bodyErrors } from "./wire/error_responses.ts";
import { boundedText, MAX_ITEMS } from "./wire/bounded_body.ts";
import { openEngine } from "./server/instance.ts";
import { servedModel, tokenString } from "./wire/openai_format.ts";
import { withEngine } from "./server/with_engine.ts";

export const TokenizeRequest = z.object({
  model: z.string().nullish(),
  prompt: z.string().nullish(),
  messages: z.array(Message).min(1).max(MAX_ITEMS.messages).nullish(),
  add_special_tokens: z.boolean().nullish()
    .describe("BOS and the like [true; for messages false, the template has them]"),
  add_generation_prompt: z.boolean().nullish().describe("Open the assistant's turn [true]"),
  return_token_strs: z.boolean().nullish(),
}).openapi("TokenizeRequest");

export const TokenizeResponse = z.object({
  tokens: z.array(z.int().nonnegative()),
  count: z.int().nonnegative(),
  max_model_len: z.int().positive(),
  token_strs: z.array(z.string()).optional(),
}).openapi("TokenizeResponse");

const route = createRoute({
  method: "post",
  path: "/tokenize",
  summary: "Text to token ids",
  middleware: [openEngine, boundedText] as const,
  request: {
    body: { required: true, content: { "application/json": { schema: TokenizeRequest } } },
  },
  responses: {
    200: {
      description: "Token ids",
      content: { "application/json": { schema: TokenizeResponse } },
    },
    ...bodyErrors,
  },
});

/** The function, to be mounted. */
export const tokenize = new OpenAPIHono<Env>({ defaultHook: rejectInvalid });

tokenize.openapi(route, async (c) => {
  const body = c.req.valid("json");
  servedModel(c.var.instance, body.model);
  const { engine } = c.var;
  const text = textOf(body, engine);
  const addSpecialTokens = body.add_special_tokens ?? typeof body.prompt === "string";
  const tokens = await engine.tokenize(text, { addSpecialTokens });
  return c.json({
    tokens,
    count: tokens.length,
    max_model_len: engine.maxModelLen,
    ...(body.return_token_strs && {
      token_strs: tokens.map((token) => tokenString(engine.model.tokenizer, token)),
    }),
  }, 200);
});

export default withEngine(tokenize);

function textOf(body: z.infer<typeof TokenizeRequest>, { model }: ServedEngine): string {
  const { prompt, messages } = body;
  if (typeof prompt === "string" && !messages) return prompt;
  if (!messages || typeof prompt === "string") {
    const message = "Cannot read request: give exactly one of prompt and messages";
    throw new HttpError(400, "invalid_value", message, "prompt");
  }
  if (model.chatTemplate === undefined) {
    const message = "Cannot read messages: the model has no chat template; send prompt instead";
    throw new HttpError(400, "unsupported", message, "messages");
  }
  const addGenerationPrompt = body.add_generation_prompt ?? true;
  try {
    return model.chatTemplate.render(messages.map(toTemplateMessage), { addGenerationPrompt });
  } catch (error) {
    const message = `Cannot read messages: ${(error as Error).message}`;
    throw new HttpError(400, "invalid_value", message, "messages");
  }
}

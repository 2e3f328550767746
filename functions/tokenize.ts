/**
 * `POST /tokenize`: text or messages in, token ids out, without touching the model.
 *
 * @module
 */
import { OpenAPIHono, z } from "@hono/zod-openapi";
import { type TextPrompt, textPromptOf } from "../engine/prompt.ts";
import { Messages } from "./dialects/chat_message.ts";
import { HttpError } from "./dialects/http_error.ts";
import { conversationFields, toConversation } from "./dialects/request_fields.ts";
import { unsupported } from "./dialects/unsupported.ts";
import { tokenString } from "./dialects/values.ts";
import { readBody } from "./server/body.ts";
import { bodyErrors } from "./server/described_responses.ts";
import type { Env, ServedEngine } from "./server/env.ts";
import { withEngine } from "./server/with_engine.ts";

export const TokenizeRequest = z.object({
  model: z.string().nullish(),
  prompt: z.string().nullish(),
  messages: Messages.nullish(),
  add_special_tokens: z.boolean().nullish()
    .describe("BOS and the like [true; for messages false, the template has them]"),
  ...conversationFields,
  chat_template: unsupported("templates of the caller's"),
  return_token_strs: z.boolean().nullish(),
}).openapi("TokenizeRequest");

export const TokenizeResponse = z.object({
  tokens: z.array(z.int().nonnegative()),
  count: z.int().nonnegative(),
  max_model_len: z.int().positive(),
  token_strs: z.array(z.string()).optional(),
}).openapi("TokenizeResponse");

/** The function, to be mounted. */
export const tokenize = new OpenAPIHono<Env>();

tokenize.openAPIRegistry.registerPath({
  method: "post",
  path: "/tokenize",
  summary: "Text to token ids",
  request: {
    body: { required: true, content: { "application/json": { schema: TokenizeRequest } } },
  },
  responses: {
    200: {
      description: "Token ids",
      content: { "application/json": { schema: TokenizeResponse } },
    },
    ...bodyErrors(),
  },
});

tokenize.post("/tokenize", async (c) => {
  const { models } = c.var.instance;
  models.requireAny("read");
  const body = await readBody(c, TokenizeRequest);
  const engine = models.resolve(body.model).model.require("read");
  const { text, ...options } = textOf(body, engine);
  const addSpecialTokens = body.add_special_tokens ?? options.addSpecialTokens;
  const tokens = await engine.tokenize(text, {
    ...options,
    addSpecialTokens,
    signal: c.var.signal,
  });
  return c.json({
    tokens,
    count: tokens.length,
    max_model_len: engine.maxModelLen,
    ...(body.return_token_strs && {
      token_strs: tokens.map((token) => tokenString(engine.model.tokenizer, token)),
    }),
  });
});

export default withEngine(tokenize);

function textOf(body: z.infer<typeof TokenizeRequest>, { model }: ServedEngine): TextPrompt {
  const { prompt, messages } = body;
  if (typeof prompt === "string" && !messages) return textPromptOf({ prompt }, model);
  if (!messages || typeof prompt === "string") {
    const message = "Cannot read request: give exactly one of prompt and messages";
    throw new HttpError(400, "invalid_value", message, "prompt");
  }
  return textPromptOf({ messages, ...toConversation(body) }, model);
}

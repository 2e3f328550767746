/**
 * `POST /tokenize`: text or messages in, token ids out, without touching the model.
 *
 * @module
 */
import { OpenAPIHono, z } from "@hono/zod-openapi";
import { type TextPrompt, textPromptOf } from "../engine/prompt.ts";
import { Messages } from "./dialects/chat_message.ts";
import { describeOne, requireOne } from "./dialects/one_source.ts";
import { present } from "./dialects/present.ts";
import { conversationFields, toConversation } from "./dialects/request_fields.ts";
import { namesOf, refusing, UNSUPPORTED_IN_TOKENIZE } from "./dialects/unsupported.ts";
import { tokenString } from "./dialects/values.ts";
import { readBody } from "./server/body.ts";
import { bodyErrors } from "./server/described_responses.ts";
import type { Env, ServedEngine } from "./server/env.ts";
import { withEngine } from "./server/with_engine.ts";

const TOKENIZE_SOURCES = { prompt: "string", messages: "array" } as const;

export const TokenizeRequest = refusing(
  UNSUPPORTED_IN_TOKENIZE,
  z.object({
    model: z.string().nullish(),
    prompt: z.string().nullish(),
    messages: Messages.nullish(),
    add_special_tokens: z.boolean().nullish()
      .describe("BOS and the like [true; for messages false, the template has them]"),
    ...conversationFields,
    return_token_strs: z.boolean().nullish(),
  }),
).openapi("TokenizeRequest", {
  description: namesOf(UNSUPPORTED_IN_TOKENIZE),
  ...describeOne(TOKENIZE_SOURCES),
});

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
  operationId: "tokenize",
  tags: ["Tokens"],
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
  const tokens = await engine.tokenize(text, {
    ...options,
    caller: c.var.caller.id,
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
  requireOne(TOKENIZE_SOURCES, body);
  const { prompt, messages, add_special_tokens: addSpecialTokens } = body;
  const source = present({ prompt, messages, addSpecialTokens });
  return textPromptOf({ ...source, ...toConversation(body) }, model);
}

/**
 * `POST /detokenize`: token ids in, text out, control tokens included.
 *
 * @module
 */
import { createRoute, OpenAPIHono, z } from "@hono/zod-openapi";
import type { Env } from "./env.ts";
import { HttpError, rejectInvalid } from "./errors.ts";
import { bodyErrors } from "./wire/error_responses.ts";
import { boundedText, MAX_ITEMS } from "./wire/bounded_body.ts";
import { openEngine } from "./server/instance.ts";
import { servedModel } from "./wire/openai_format.ts";
import { TokenId } from "./wire/sampling.ts";
import { withEngine } from "./server/with_engine.ts";

export const DetokenizeRequest = z.object({
  model: z.string().nullish(),
  tokens: z.array(TokenId).max(MAX_ITEMS.tokensToText),
}).openapi("DetokenizeRequest");

export const DetokenizeResponse = z.object({ prompt: z.string() }).openapi("DetokenizeResponse");

const route = createRoute({
  method: "post",
  path: "/detokenize",
  summary: "Token ids to text",
  middleware: [openEngine, boundedText] as const,
  request: {
    body: { required: true, content: { "application/json": { schema: DetokenizeRequest } } },
  },
  responses: {
    200: {
      description: "Text",
      content: { "application/json": { schema: DetokenizeResponse } },
    },
    ...bodyErrors,
  },
});

/** The function, to be mounted. */
export const detokenize = new OpenAPIHono<Env>({ defaultHook: rejectInvalid });

detokenize.openapi(route, (c) => {
  const { model, tokens } = c.req.valid("json");
  servedModel(c.var.instance, model);
  const { engine } = c.var;
  const last = engine.model.tokenizer.vocabSize - 1;
  const wrong = tokens.findIndex((token) => token > last);
  if (wrong >= 0) {
    throw new HttpError(
      400,
      "invalid_value",
      `Cannot read request: tokens[${wrong}] must be <= ${last}: current value is ${tokens[wrong]}`,
      `tokens[${wrong}]`,
    );
  }
  return c.json({ prompt: engine.detokenize(tokens, { skipSpecialTokens: false }) }, 200);
});

export default withEngine(detokenize);

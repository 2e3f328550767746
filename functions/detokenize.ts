/**
 * `POST /detokenize`: token ids in, text out, control tokens included.
 *
 * @module
 */
import { OpenAPIHono, z } from "@hono/zod-openapi";
import { MAX_ITEMS, tokenIds } from "./dialects/bounded.ts";
import { refuseBody } from "./dialects/http_error.ts";
import { readBody } from "./server/body.ts";
import { bodyErrors } from "./server/described_responses.ts";
import type { Env } from "./server/env.ts";
import { withEngine } from "./server/with_engine.ts";

export const DetokenizeRequest = z.object({
  model: z.string().nullish(),
  tokens: tokenIds({ max: MAX_ITEMS.tokensToText }),
}).openapi("DetokenizeRequest");

export const DetokenizeResponse = z.object({ prompt: z.string() }).openapi("DetokenizeResponse");

/** The function, to be mounted. */
export const detokenize = new OpenAPIHono<Env>();

detokenize.openAPIRegistry.registerPath({
  method: "post",
  path: "/detokenize",
  operationId: "detokenize",
  tags: ["Tokens"],
  summary: "Token ids to text",
  request: {
    body: { required: true, content: { "application/json": { schema: DetokenizeRequest } } },
  },
  responses: {
    200: {
      description: "Text",
      content: { "application/json": { schema: DetokenizeResponse } },
    },
    ...bodyErrors(),
  },
});

detokenize.post("/detokenize", async (c) => {
  const { models } = c.var.instance;
  models.requireAny("read");
  const { model, tokens } = await readBody(c, DetokenizeRequest);
  const engine = models.resolve(model).model.require("read");
  const last = engine.model.tokenizer.vocabSize - 1;
  const wrong = tokens.findIndex((token) => token > last);
  if (wrong >= 0) {
    refuseBody(`tokens[${wrong}]`, `must be <= ${last}: current value is ${tokens[wrong]}`);
  }
  return c.json({ prompt: engine.detokenize(tokens, { skipSpecialTokens: false }) });
});

export default withEngine(detokenize);

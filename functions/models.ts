/**
 * `GET /v1/models`: the one model, under each of its names.
 *
 * @module
 */
import { createRoute, OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { Env } from "./env.ts";
import { engineErrors } from "./wire/error_responses.ts";
import { openEngine } from "./server/instance.ts";
import { servedModel } from "./wire/openai_format.ts";
import { withEngine } from "./server/with_engine.ts";

const ModelCard = z.object({
  id: z.string(),
  object: z.literal("model"),
  created: z.int(),
  owned_by: z.string(),
  max_model_len: z.int().describe("Prompt and output together, in tokens"),
}).openapi("Model");

const listRoute = createRoute({
  method: "get",
  path: "/v1/models",
  summary: "What is served",
  middleware: openEngine,
  responses: {
    200: {
      description: "The model under each of its names",
      content: {
        "application/json": {
          schema: z.object({ object: z.literal("list"), data: z.array(ModelCard) }),
        },
      },
    },
    ...engineErrors,
  },
});

const cardRoute = createRoute({
  method: "get",
  path: "/v1/models/{model}",
  summary: "One model",
  middleware: openEngine,
  request: { params: z.object({ model: z.string() }) },
  responses: {
    200: { description: "It", content: { "application/json": { schema: ModelCard } } },
    ...engineErrors,
  },
});

/** The function, to be mounted. */
export const models = new OpenAPIHono<Env>();

models.openapi(listRoute, (c) => {
  const data = c.var.instance.modelNames.map((name) => cardOf(c, name));
  return c.json({ object: "list" as const, data }, 200);
});

models.openapi(cardRoute, (c) => {
  return c.json(cardOf(c, servedModel(c.var.instance, c.req.valid("param").model)), 200);
});

// Names of the Hub have a slash in them, which not every client encodes.
models.get("/v1/models/:org/:name", openEngine, (c) => {
  const { org, name } = c.req.param();
  return c.json(cardOf(c, servedModel(c.var.instance, `${org}/${name}`)));
});

export default withEngine(models);

function cardOf(c: Context<Env>, id: string): z.infer<typeof ModelCard> {
  return {
    id,
    object: "model",
    created: c.var.instance.created,
    owned_by: "hearth",
    max_model_len: c.var.engine.maxModelLen,
  };
}

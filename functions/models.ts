/**
 * `GET /v1/models`: the one model, under each of its names.
 *
 * @module
 */
import { createRoute, OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { Env } from "./server/env.ts";
import { engineErrors } from "./server/described_responses.ts";
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
  operationId: "listModels",
  tags: ["Models"],
  summary: "What is served",
  responses: {
    200: {
      description: "The model under each of its names",
      content: {
        "application/json": {
          schema: z.object({ object: z.literal("list"), data: z.array(ModelCard) }),
        },
      },
    },
    ...engineErrors(),
  },
});

const cardRoute = createRoute({
  method: "get",
  path: "/v1/models/{model}",
  operationId: "retrieveModel",
  tags: ["Models"],
  summary: "One model",
  request: { params: z.object({ model: z.string() }) },
  responses: {
    200: { description: "It", content: { "application/json": { schema: ModelCard } } },
    ...engineErrors(),
  },
});

/** The function, to be mounted. */
export const models = new OpenAPIHono<Env>();

models.openAPIRegistry.registerPath(listRoute);
models.openAPIRegistry.registerPath(cardRoute);

for (const path of ["/v1/models", "/models"]) {
  models.get(path, (c) => {
    const data = [...c.var.instance.models].flatMap((model) => {
      const { maxModelLen } = model.require("read");
      return model.names.map((name) => cardOf(c, name, maxModelLen));
    });
    return c.json({ object: "list", data });
  });
  models.get(`${path}/:model`, (c) => c.json(find(c, c.req.param("model"))));
  // Names of the Hub have a slash in them, which not every client encodes.
  models.get(`${path}/:org/:name`, (c) => {
    const { org, name } = c.req.param();
    return c.json(find(c, `${org}/${name}`));
  });
}

export default withEngine(models);

function find(c: Context<Env>, asked: string): z.infer<typeof ModelCard> {
  const { name, model } = c.var.instance.models.resolve(asked);
  return cardOf(c, name, model.require("read").maxModelLen);
}

function cardOf(c: Context<Env>, id: string, maxModelLen: number): z.infer<typeof ModelCard> {
  const { created } = c.var.instance;
  return { id, object: "model", created, owned_by: "hearth", max_model_len: maxModelLen };
}

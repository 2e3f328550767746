/**
 * `GET /health`: 200 while the process lives, whatever the model does.
 *
 * @module
 */
import { createRoute, OpenAPIHono, z } from "@hono/zod-openapi";
import type { Env } from "./server/env.ts";
import { withEngine } from "./server/with_engine.ts";

const route = createRoute({
  method: "get",
  path: "/health",
  operationId: "health",
  tags: ["Process"],
  summary: "Whether the process lives",
  responses: {
    200: {
      description: "It does",
      content: { "application/json": { schema: z.object({ status: z.literal("ok") }) } },
    },
  },
});

/** The function, to be mounted. */
export const health = new OpenAPIHono<Env>();

health.openapi(route, (c) => c.json({ status: "ok" } as const, 200));

export default withEngine(health);

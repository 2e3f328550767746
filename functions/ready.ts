/**
 * `GET /ready`: 200 when work is taken, 503 with how far it is before and after, and why it has
 * failed.
 *
 * @module
 */
import { createRoute, OpenAPIHono, z } from "@hono/zod-openapi";
import type { Env } from "./server/env.ts";
import { withEngine } from "./server/with_engine.ts";

const Readiness = z.object({
  state: z.enum(["starting", "fetching", "reading", "loading", "ready", "closing", "failed"]),
  progress: z.number().describe("Share of this state's work that is done, 0 to 1"),
  reason: z.string().optional().describe("Why it has failed; it takes another process then"),
}).openapi("Readiness");

const route = createRoute({
  method: "get",
  path: "/ready",
  operationId: "ready",
  tags: ["Process"],
  summary: "Whether requests are taken",
  responses: {
    200: {
      description: "They are",
      content: { "application/json": { schema: Readiness } },
    },
    503: {
      description: "Not yet, or no more",
      content: { "application/json": { schema: Readiness } },
    },
  },
});

/** The function, to be mounted. */
export const ready = new OpenAPIHono<Env>();

ready.openapi(route, (c) => {
  const readiness = c.var.instance.model.readiness();
  if (readiness.state === "ready") return c.json(readiness, 200);
  if (readiness.state !== "failed") c.header("Retry-After", "1");
  return c.json(readiness, 503);
});

export default withEngine(ready);

/**
 * `GET /metrics`: counters, gauges and histograms for Prometheus.
 *
 * @module
 */
import { createRoute, OpenAPIHono, z } from "@hono/zod-openapi";
import { keyErrors } from "./server/described_responses.ts";
import type { Env } from "./server/env.ts";
import { withEngine } from "./server/with_engine.ts";

const route = createRoute({
  method: "get",
  path: "/metrics",
  operationId: "metrics",
  tags: ["Process"],
  summary: "Numbers for Prometheus",
  responses: {
    200: { description: "Text format", content: { "text/plain": { schema: z.string() } } },
    ...keyErrors(),
  },
});

/** The function, to be mounted. */
export const metrics = new OpenAPIHono<Env>();

metrics.openapi(route, async (c) => {
  const registry = await c.var.instance.metrics();
  return c.body(await registry.text(), 200, { "content-type": registry.contentType }) as never;
});

export default withEngine(metrics);

/**
 * `GET /version`: what runs here, down to the kernels.
 *
 * @module
 */
import { createRoute, OpenAPIHono, z } from "@hono/zod-openapi";
import { keyErrors } from "./server/described_responses.ts";
import type { Env } from "./server/env.ts";
import { VERSION } from "./server/version_number.ts";
import { withEngine } from "./server/with_engine.ts";

const Version = z.object({
  version: z.string(),
  deno: z.string(),
  engine: z.record(z.string(), z.string()).nullable()
    .describe("Device, threads, kernels, dtypes; null until the model is read"),
}).openapi("Version");

const route = createRoute({
  method: "get",
  path: "/version",
  operationId: "version",
  tags: ["Process"],
  summary: "Versions, device, kernels",
  responses: {
    200: { description: "They", content: { "application/json": { schema: Version } } },
    ...keyErrors(),
  },
});

/** The function, to be mounted. */
export const version = new OpenAPIHono<Env>();

version.openapi(route, (c) => {
  const described = c.var.instance.model.engine?.describe();
  return c.json({
    version: VERSION,
    deno: Deno.version.deno,
    engine: described === undefined ? null : fieldsOf(described),
  }, 200);
});

export default withEngine(version);

/** `key: value` lines as an object. */
function fieldsOf(lines: string): Record<string, string> {
  const pairs = lines.split("\n").map((line) => /^\s*([^:]+):\s*(.*)$/.exec(line));
  return Object.fromEntries(
    pairs.filter((pair) => pair !== null).map(([, key, value]) => [key!, value!]),
  );
}

/**
 * `GET /openapi.json`: what every function takes and answers, out of their own schemas.
 * `GET /docs`: the routes as a page, to which `/` leads. It runs no script: one that came from elsewhere could use the
 * API with the reader's key.
 *
 * @module
 */
import { OpenAPIHono } from "@hono/zod-openapi";
import { allFunctions } from "./all_functions.ts";
import type { Env } from "./server/env.ts";
import { VERSION } from "./server/version_number.ts";
import { withEngine } from "./server/with_engine.ts";

let written: ReturnType<typeof writeDocument> | undefined;

/** The function, to be mounted. */
export const openapi = new OpenAPIHono<Env>();

openapi.get("/", (c) => c.redirect("/docs"));

openapi.get("/openapi.json", (c) => c.json(written ??= writeDocument()));

openapi.get("/docs", (c) => {
  c.header("content-security-policy", "default-src 'none'");
  return c.html(pageOf(written ??= writeDocument()));
});

export default withEngine(openapi);

function writeDocument() {
  const described = new OpenAPIHono<Env>();
  for (const one of allFunctions) described.route("/", one);
  described.openAPIRegistry.registerComponent("securitySchemes", "apiKey", {
    type: "http",
    scheme: "bearer",
  });
  return described.getOpenAPI31Document({
    openapi: "3.1.0",
    info: { title: "Hearth", version: VERSION, license: { name: "Apache-2.0" } },
    security: [{ apiKey: [] }, {}],
  });
}

/** Routes with their summaries. */
function pageOf({ paths }: ReturnType<typeof writeDocument>): string {
  const items = Object.entries(paths ?? {}).flatMap(([path, methods]) =>
    Object.entries(methods as Record<string, { summary?: string }>).map(([method, { summary }]) =>
      `<li><code>${method.toUpperCase()} ${path}</code> ${summary ?? ""}</li>`
    )
  );
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Hearth</title></head>
<body>
<h1>Hearth ${VERSION}</h1>
<p>Fields, bounds and answers: <a href="/openapi.json">openapi.json</a>, for any reader of OpenAPI.</p>
<ul>
${items.join("\n")}
</ul>
</body>
</html>`;
}

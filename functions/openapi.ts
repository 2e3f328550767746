/**
 * `GET /openapi.json`: what every function takes and answers, out of their own schemas.
 * `GET /docs`: the same to read and try in a browser.
 *
 * @module
 */
import { OpenAPIHono } from "@hono/zod-openapi";
import { allFunctions } from "./all_functions.ts";
import type { Context } from "hono";
import type { Env } from "./env.ts";
import { VERSION } from "./server/version_number.ts";
import { withEngine } from "./server/with_engine.ts";

let written: ReturnType<typeof writeDocument> | undefined;

/** The function, to be mounted. */
export const openapi = new OpenAPIHono<Env>();

openapi.get("/openapi.json", (c) => c.json(written ??= writeDocument()));

openapi.get("/docs", async (c) => {
  const { Scalar } = await import("@scalar/hono-api-reference");
  const page = await Scalar({ url: "/openapi.json", pageTitle: "Hearth" })(
    c as Context, // Scalar asks for any environment
    async () => {},
  );
  // Scalar's script comes from a CDN. Without a way there the page shows the plain list.
  const html = await (page as Response).text();
  return c.html(html.replace("</body>", () => `${plainList(written ??= writeDocument())}</body>`));
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

/** Routes with their summaries, shown where Scalar's script did not come. */
function plainList({ paths }: ReturnType<typeof writeDocument>): string {
  const items = Object.entries(paths ?? {}).flatMap(([path, methods]) =>
    Object.entries(methods as Record<string, { summary?: string }>).map(([method, { summary }]) =>
      `<li><code>${method.toUpperCase()} ${path}</code> ${summary ?? ""}</li>`
    )
  );
  return `<div id="plain" hidden><h1>Hearth</h1><p>The documentation's script could not be loaded;
<a href="/openapi.json">openapi.json</a> has all of it.</p><ul>${items.join("\n")}</ul></div>
<script>addEventListener("load", () => setTimeout(() => {
  const app = document.querySelector("#app");
  if (!app?.children.length) document.querySelector("#plain").hidden = false;
}, 1000));</script>`;
}

/**
 * What functions take and answer, out of their own schemas: `/openapi.json` for programs, `/docs` for people,
 * to which `/` leads. The page runs no script: one that came from elsewhere could use the API with the
 * reader's key.
 *
 * @module
 */
import { OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import { isOpen, KEY_HEADERS } from "./caller.ts";
import type { Env, HttpFunction } from "./env.ts";
import { VERSION } from "./version_number.ts";

type Document = ReturnType<OpenAPIHono["getOpenAPI31Document"]>;

/** An operation of a document, as far as something is written into it. */
interface Operation {
  readonly summary?: string;
  readonly responses: Record<string, { headers?: object }>;
  security?: object[];
}

const HEADERS = {
  requestId: {
    description: "The caller's own, or one that was drawn; the log has it",
    schema: { type: "string" },
  },
  retryAfter: { description: "Seconds until another try is worth it", schema: { type: "integer" } },
} as const;

/** Describes `functions`. */
export function openApiFunction(functions: readonly HttpFunction[]): HttpFunction {
  const app = new OpenAPIHono<Env>();
  const written = new Map<boolean, Document>();
  const documentOf = ({ var: { instance } }: Context<Env>): Document => {
    const asksForKey = instance.options.apiKeys.length > 0;
    const document = written.get(asksForKey) ?? writeDocument(functions, asksForKey);
    written.set(asksForKey, document);
    return document;
  };
  app.get("/", (c) => c.redirect("/docs"));
  app.get("/openapi.json", (c) => c.json(documentOf(c)));
  app.get("/docs", (c) => {
    c.header("content-security-policy", "default-src 'none'");
    return c.html(pageOf(documentOf(c)));
  });
  return app;
}

function writeDocument(functions: readonly HttpFunction[], asksForKey: boolean): Document {
  const described = new OpenAPIHono<Env>();
  for (const one of functions) described.route("/", one);
  const { openAPIRegistry: registry } = described;
  for (const [name, header] of Object.entries(HEADERS)) {
    registry.registerComponent("headers", name, header);
  }
  for (const [name, scheme] of Object.entries(asksForKey ? KEY_HEADERS : {})) {
    registry.registerComponent("securitySchemes", name, scheme);
  }
  const document = described.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "Hearth",
      version: VERSION,
      license: { name: "Apache-2.0", url: "https://www.apache.org/licenses/LICENSE-2.0" },
      description:
        "A path that is asked with another method answers 405, with Allow; HEAD is GET " +
        "without its body. Null is as good as absent in bodies.",
    },
    servers: [{ url: "/" }],
    security: asksForKey ? Object.keys(KEY_HEADERS).map((name) => ({ [name]: [] })) : [],
  });
  for (const [path, , operation] of operationsOf(document)) {
    if (isOpen(path)) operation.security = [];
    for (const [status, response] of Object.entries(operation.responses)) {
      response.headers = {
        "x-request-id": { $ref: "#/components/headers/requestId" },
        ...(/429|503/.test(status) && {
          "retry-after": { $ref: "#/components/headers/retryAfter" },
        }),
      };
    }
  }
  return document;
}

function* operationsOf({ paths }: Document): Generator<readonly [string, string, Operation]> {
  for (const [path, methods] of Object.entries(paths ?? {})) {
    for (const [method, operation] of Object.entries(methods as Record<string, Operation>)) {
      yield [path, method, operation];
    }
  }
}

/** Routes with their summaries. */
function pageOf(document: Document): string {
  const items = [...operationsOf(document)].map(([path, method, { summary }]) =>
    `<li><code>${method.toUpperCase()} ${path}</code> ${summary ?? ""}</li>`
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

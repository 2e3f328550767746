/**
 * The API's description against `openapi_outline.txt`: a line for each route, answer and field, with its type
 * and bounds. Who changes a field on purpose changes its line.
 *
 * @module
 */
import { allowLongTurns } from "../event_loop_guard.ts";
import assert from "node:assert/strict";
import { fakeHarness } from "./harness.ts";

/** For {@linkcode allowLongTurns}. */
const WRITES_ONCE = "the description is written for the first who asks, in about 50 ms";

interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly allOf?: readonly Schema[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly [key: string]: unknown;
}

interface Route {
  readonly parameters?: readonly unknown[];
  readonly requestBody?: { readonly content: Content };
  readonly responses: Readonly<Record<string, { readonly content?: Content }>>;
}

type Content = Readonly<Record<string, { readonly schema: Schema }>>;

/** What stands in a line as it is, beside the type. */
const SHOWN = ["const", "enum", "pattern", "format", "minimum", "maximum", "exclusiveMinimum"]
  .concat("exclusiveMaximum", "minLength", "maxLength", "minItems", "maxItems", "deprecated");

/** A type in a line; the fields of objects within are in braces, optional ones with a question mark. */
function typeOf(schema: Schema): string {
  if (schema.$ref !== undefined) return schema.$ref.split("/").at(-1)!;
  const { type = "any", items, properties, additionalProperties, required } = schema;
  const union = schema.anyOf ?? schema.oneOf ?? schema.allOf;
  const name = union !== undefined
    ? `(${union.map(typeOf).join(" | ")})`
    : typeof type === "string"
    ? type
    : type.join("|");
  const fields = Object.entries(properties ?? {}).map(([key, field]) =>
    `${key}${required?.includes(key) ? "" : "?"}: ${typeOf(field)}`
  );
  return [
    name,
    ...SHOWN.filter((key) => key in schema).map((key) => `${key}=${JSON.stringify(schema[key])}`),
    ...(items ? [`of ${typeOf(items)}`] : []),
    ...(properties ? [`{ ${fields.join("; ")} }`] : []),
    ...(additionalProperties === undefined
      ? []
      : typeof additionalProperties === "object"
      ? [`with ${typeOf(additionalProperties as Schema)}`]
      : [additionalProperties ? "open" : "closed"]),
  ].join(" ");
}

function contentOf(content: Content = {}): string {
  return Object.entries(content).map(([type, { schema }]) => `${type} ${typeOf(schema)}`).join(
    ", ",
  );
}

Deno.test("openapi.json says of each route and field what openapi_outline.txt says", async () => {
  allowLongTurns(WRITES_ONCE);
  await using harness = fakeHarness();
  const { paths, components, security } = await (await harness.get("/openapi.json")).json();
  const lines: string[] = [];
  for (const [path, methods] of Object.entries<Record<string, Route>>(paths)) {
    for (const [method, { parameters, requestBody, responses }] of Object.entries(methods)) {
      lines.push(`${method.toUpperCase()} ${path}`);
      if (parameters) lines.push(`  parameters ${JSON.stringify(parameters)}`);
      if (requestBody) lines.push(`  takes ${contentOf(requestBody.content)}`);
      for (const [status, { content }] of Object.entries(responses)) {
        lines.push(`  ${status} ${contentOf(content)}`);
      }
    }
  }
  for (const [name, schema] of Object.entries<Schema>(components.schemas)) {
    const { properties = {}, required = [], ...rest } = schema;
    lines.push(`${name} ${typeOf(rest)}`);
    for (const [key, field] of Object.entries(properties)) {
      lines.push(`  ${key}${required.includes(key) ? "" : "?"}: ${typeOf(field)}`);
    }
  }
  lines.push(`security ${JSON.stringify([components.securitySchemes, security])}`);
  const outline = await Deno.readTextFile(new URL("openapi_outline.txt", import.meta.url));
  assert.deepEqual(lines, outline.trimEnd().split("\n"));
});

Deno.test("/docs lists each route with what it does, and runs nothing", async () => {
  allowLongTurns(WRITES_ONCE);
  await using harness = fakeHarness();
  const root = await harness.get("/");
  assert.deepEqual([root.status, root.headers.get("location")], [302, "/docs"]);
  const response = await harness.get("/docs");
  assert.equal(response.headers.get("content-security-policy"), "default-src 'none'");
  const items = [...(await response.text()).matchAll(/<li><code>(.*)<\/code> (.*)<\/li>/g)];
  assert.deepEqual(items.map(([, route, text]) => `${route}: ${text}`), [
    "POST /generate: Continue a prompt, token ids or a conversation",
    "POST /v1/chat/completions: Answer a conversation",
    "POST /v1/completions: Continue texts",
    "GET /v1/models: What is served",
    "GET /v1/models/{model}: One model",
    "POST /tokenize: Text to token ids",
    "POST /detokenize: Token ids to text",
    "GET /tokenizer_info: The tokenizer's special tokens and chat template",
    "GET /health: Whether the process lives",
    "GET /ready: Whether requests are taken",
    "GET /version: Versions, device, kernels",
    "GET /metrics: Numbers for Prometheus",
  ]);
});

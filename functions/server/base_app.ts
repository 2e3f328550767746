/**
 * What stands before every function, alone or together: request id, access log, API key, body
 * limit, errors in the form of their route.
 *
 * @module
 */
import { OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import { cors } from "hono/cors";
import { requestId } from "hono/request-id";
import { matchedRoutes } from "hono/route";
import type { ErrorShape } from "../dialects/dialect.ts";
import { openAiError } from "../dialects/openai/error_shape.ts";
import { accessLog } from "./access_log.ts";
import { allowHosts } from "./allowed_hosts.ts";
import { boundBody } from "./bodies.ts";
import { identifyCaller, limitCaller } from "./caller.ts";
import type { Env, HttpFunction } from "./env.ts";
import { methodNotAllowed, notFound, onError } from "./errors.ts";
import type { Instance } from "./instance.ts";
import { RequestRecord } from "./request_record.ts";

/** The form in which errors of a path are said; undefined where no path is known. */
export function errorShapes(
  functions: readonly HttpFunction[],
): (path: string | undefined) => ErrorShape {
  const shapes = new Map(
    functions.flatMap(({ form }) =>
      form?.routes.map((route) => [route, form.errorShape] as const) ?? []
    ),
  );
  return (path = "") => shapes.get(path.replace(/\/$/, "")) ?? openAiError;
}

/** An app that serves `functions` of `instance`. */
export function baseApp(instance: Instance, functions: readonly HttpFunction[]): OpenAPIHono<Env> {
  const { options } = instance;
  // Not strict: a slash at the end of a path is as good as none.
  const app = new OpenAPIHono<Env>({ strict: false });
  const errorShapeOf = errorShapes(functions);
  app.onError(onError);
  app.notFound(notFound);
  app.use(requestId());
  app.use(async function track(c, next) {
    c.set("instance", instance);
    c.set("errorShape", errorShapeOf(c.req.path));
    const record = new RequestRecord(instance.timings);
    const { signal } = c.req.raw;
    c.set("record", record);
    c.set("signal", signal);
    // Before all others who listen: what they throw then is no failure of ours.
    signal.addEventListener("abort", () => record.left = true);
    const end = instance.begin();
    try {
      await next();
    } finally {
      const { status } = c.res;
      const labels = { route: routeOf(c), method: methodOf(c) };
      record.finished.then(() => {
        end();
        record.end();
        instance.count({ ...labels, status: record.statusOf(status) });
      });
    }
  });
  app.use(accessLog({ format: options.accessLog, logProbes: options.logProbes }));
  if (options.corsOrigins.length > 0) {
    const origin = options.corsOrigins.includes("*") ? "*" : [...options.corsOrigins];
    app.use(cors({ origin, exposeHeaders: ["x-request-id"] }));
  }
  if (options.allowedHosts.length > 0) app.use(allowHosts(options.allowedHosts));
  app.use(async function lengthOfHead(c, next) {
    await next();
    if (c.req.method !== "HEAD" || c.res.body === null) return;
    // Hono takes the body away; GET's length is told all the same.
    const { byteLength } = await c.res.clone().arrayBuffer();
    c.header("content-length", String(byteLength));
  });
  app.use(identifyCaller(options));
  app.use(limitCaller());
  app.use(boundBody());
  for (const one of functions) app.route("/", one);
  app.use(methodNotAllowed(app));
  return app;
}

const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

function methodOf({ req }: Context<Env>): string {
  return METHODS.has(req.method) ? req.method : "other";
}

/** The route's pattern: a path of the caller's would make a series each. */
function routeOf(c: Context<Env>): string {
  const route = matchedRoutes(c).findLast(({ path }) => !path.endsWith("*"))?.path;
  return route ?? "none";
}

/**
 * What stands before every function, alone or together: request id, access log, API key, body
 * limit, errors in one shape.
 *
 * @module
 */
import { OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import { bodyLimit } from "hono/body-limit";
import { cors } from "hono/cors";
import { requestId } from "hono/request-id";
import { matchedRoutes } from "hono/route";
import { accessLog } from "./access_log.ts";
import { allowHosts } from "./allowed_hosts.ts";
import { identifyCaller } from "./caller.ts";
import type { Env } from "../env.ts";
import { HttpError, methodNotAllowed, notFound, onError, rejectInvalid } from "../errors.ts";
import type { Instance } from "./instance.ts";
import { jsonBody } from "./json_body.ts";
import { RequestRecord } from "./request_record.ts";
import { standardError } from "./standard_output.ts";

/** A function: a Hono app that finds its engine in the context. */
export type HttpFunction = OpenAPIHono<Env>;

/** An app that serves `functions` of `instance`. */
export function baseApp(instance: Instance, functions: readonly HttpFunction[]): OpenAPIHono<Env> {
  const { options } = instance;
  const app = new OpenAPIHono<Env>({ defaultHook: rejectInvalid });
  app.onError(onError);
  app.notFound(notFound);
  app.use(requestId());
  app.use(async function track(c, next) {
    c.set("instance", instance);
    const record = new RequestRecord();
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
      record.finished.then(async () => {
        end();
        record.endedMs = record.elapsedMs();
        instance.count({ ...labels, status: record.statusOf(status) });
        if (record.firstTokenMs !== undefined) (await instance.metrics()).observe(record);
      }).catch((error) => standardError.line(`Cannot count a request: ${Deno.inspect(error)}`));
    }
  });
  app.use(accessLog({ format: options.accessLog, logProbes: options.logProbes }));
  if (options.corsOrigins.length > 0) {
    const origin = options.corsOrigins.includes("*") ? "*" : [...options.corsOrigins];
    app.use(cors({ origin, exposeHeaders: ["x-request-id"] }));
  }
  if (options.allowedHosts.length > 0) app.use(allowHosts(options.allowedHosts));
  app.use(identifyCaller(options));
  app.use(bodyLimit({ maxSize: options.bodyLimitBytes, onError: () => tooLarge(options) }));
  app.use(jsonBody);
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

function tooLarge({ bodyLimitBytes }: { readonly bodyLimitBytes: number }): never {
  const message = `Cannot read request: the body must have at most ${bodyLimitBytes} bytes`;
  throw new HttpError(413, "body_too_large", message);
}

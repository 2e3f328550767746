/**
 * All functions in one app.
 *
 * @module
 */
import type { OpenAPIHono } from "@hono/zod-openapi";
import { allFunctions } from "./all_functions.ts";
import { baseApp } from "./server/base_app.ts";
import type { Env } from "./env.ts";
import type { Instance } from "./server/instance.ts";
import { openapi } from "./openapi.ts";

/** The app that `serve.ts` serves and that tests ask without a socket. */
export function createApp(instance: Instance): OpenAPIHono<Env> {
  return baseApp(instance, [...allFunctions, openapi]);
}

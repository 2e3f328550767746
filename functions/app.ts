/**
 * All functions in one app.
 *
 * @module
 */
import type { OpenAPIHono } from "@hono/zod-openapi";
import { allFunctions } from "./all_functions.ts";
import { baseApp } from "./server/base_app.ts";
import type { Env, HttpFunction } from "./server/env.ts";
import type { Instance } from "./server/instance.ts";
import { openapi } from "./openapi.ts";

/** What `serve.ts` serves. */
export const servedFunctions: readonly HttpFunction[] = [...allFunctions, openapi];

/** The app that `serve.ts` serves and that tests ask without a socket. */
export function createApp(instance: Instance): OpenAPIHono<Env> {
  return baseApp(instance, servedFunctions);
}

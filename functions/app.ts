/**
 * All functions in one app.
 *
 * @module
 */
import type { OpenAPIHono } from "@hono/zod-openapi";
import { baseApp } from "./base_app.ts";
import { chatCompletions } from "./chat_completions.ts";
import type { Env } from "./env.ts";
import { health } from "./health.ts";
import type { Instance } from "./instance.ts";
import { ready } from "./ready.ts";

/** The app that `serve.ts` serves and that tests ask without a socket. */
export function createApp(instance: Instance): OpenAPIHono<Env> {
  return baseApp(instance, [health, ready, chatCompletions]);
}

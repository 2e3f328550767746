/**
 * OpenAI's error object: `{ error: { message, type, param, code } }`. Routes of no dialect have it too.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import type { HttpError } from "../http_error.ts";

export const ErrorAnswer = z.object({
  error: z.object({
    message: z.string(),
    type: z.string(),
    param: z.string().nullable(),
    code: z.string().nullable(),
  }),
}).openapi("Error");

export function openAiError({ status, code, message, param }: HttpError): object {
  return { error: { message, type: typeOf(status), param, code } };
}

function typeOf(status: number): string {
  if (status === 401) return "authentication_error";
  if (status === 429) return "rate_limit_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}

/**
 * The errors that routes answer with, for their descriptions: in the form of their dialect, or OpenAI's.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import { ErrorAnswer } from "../dialects/openai/error_shape.ts";

/** Of every route that needs a key. */
export function keyErrors(schema: z.ZodType = ErrorAnswer) {
  return { 401: describedBy(schema)("No API key, or an unknown one") };
}

/** Of every route that has an engine behind it. */
export function engineErrors(schema: z.ZodType = ErrorAnswer) {
  const error = describedBy(schema);
  return {
    ...keyErrors(schema),
    404: error("The model is not served here"),
    503: error("The model is not ready, or the server is shutting down; Retry-After says when"),
  };
}

/** Of those that read a body. */
export function bodyErrors(schema: z.ZodType = ErrorAnswer) {
  const error = describedBy(schema);
  return {
    ...engineErrors(schema),
    400: error("A field is wrong, and named"),
    413: error("The body is too large"),
    415: error("The content type is not application/json, or the body is compressed"),
  };
}

/** Of those that generate. */
export function generateErrors(schema: z.ZodType) {
  const error = describedBy(schema);
  return {
    ...bodyErrors(schema),
    429: error("The queue is full; Retry-After says when to try again"),
  };
}

function describedBy(schema: z.ZodType) {
  return (description: string) => ({ description, content: { "application/json": { schema } } });
}

/** What a `stream` is sent as, beside JSON. */
export const eventStreamContent = {
  "text/event-stream": {
    schema: z.string().describe("`data:` lines, each an object; the last may be `[DONE]`"),
  },
};

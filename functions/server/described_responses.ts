/**
 * The errors that routes answer with, for their descriptions.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import { ErrorAnswer } from "../dialects/openai/error_shape.ts";

const error = (description: string) => ({
  description,
  content: { "application/json": { schema: ErrorAnswer } },
});

/** Of every route that has an engine behind it. */
export const engineErrors = {
  401: error("No API key, or an unknown one"),
  404: error("The model is not served here"),
  503: error("The model is not ready, or the server is shutting down; Retry-After says when"),
};

/** Of those that read a body. */
export const bodyErrors = {
  ...engineErrors,
  400: error("A field is wrong: `param` names it"),
  413: error("The body is too large"),
  415: error("The content type is not application/json"),
};

/** Of those that generate. */
export const generateErrors = {
  ...bodyErrors,
  429: error("The queue is full; Retry-After says when to try again"),
};

/** What a `stream` is sent as, beside JSON. */
export const eventStreamContent = {
  "text/event-stream": {
    schema: z.string().describe("`data:` lines, each an object; the last may be `[DONE]`"),
  },
};

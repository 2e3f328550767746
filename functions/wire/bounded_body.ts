/**
 * Lists in a body, refused by their length alone: to check each of millions of items would keep
 * every other request waiting.
 *
 * @module
 */
import { createMiddleware } from "hono/factory";
import type { Env } from "../env.ts";
import { HttpError } from "../errors.ts";

/** Items of lists at most; the schemas say the same. */
export const MAX_ITEMS = {
  messages: 2048,
  /** Of one message's content. */
  parts: 256,
  prompts: 128,
  logitBias: 1024,
  stop: 16,
  stopTokenIds: 256,
  badWords: 256,
  /** Of `/detokenize`. */
  tokensToText: 131_072,
} as const;

/** For functions that generate, after `warmEngine`: no token list longer than the context. */
export const boundedBody = createMiddleware<Env>(async (c, next) => {
  const { maxModelLen } = c.var.engine;
  const body = await fieldsOf(c.req);
  refuseMessages(body["messages"]);
  refuseLonger("logit_bias", body["logit_bias"], MAX_ITEMS.logitBias);
  refuseLonger("stop", body["stop"], MAX_ITEMS.stop);
  refuseLonger("stop_token_ids", body["stop_token_ids"], MAX_ITEMS.stopTokenIds);
  refuseLonger("bad_words_token_ids", body["bad_words_token_ids"], MAX_ITEMS.badWords);
  for (const field of ["prompt", "tokens"]) {
    const list = body[field];
    if (!Array.isArray(list)) continue;
    if (typeof list[0] === "number") refuseTooLong(field, list, maxModelLen);
    else {
      refuseLonger(field, list, MAX_ITEMS.prompts);
      list.forEach((one, i) => refuseTooLong(`${field}[${i}]`, one, maxModelLen));
    }
  }
  await next();
});

/** For functions that only read text and tokens. */
export const boundedText = createMiddleware<Env>(async (c, next) => {
  const body = await fieldsOf(c.req);
  refuseMessages(body["messages"]);
  refuseLonger("tokens", body["tokens"], MAX_ITEMS.tokensToText);
  await next();
});

/** None where the body is no JSON object, which the schema says better. */
async function fieldsOf(request: { json(): Promise<unknown> }): Promise<Record<string, unknown>> {
  const body = await request.json().catch((error) => {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  });
  return typeof body === "object" && body !== null ? body as Record<string, unknown> : {};
}

function refuseMessages(messages: unknown): void {
  refuseLonger("messages", messages, MAX_ITEMS.messages);
  if (!Array.isArray(messages)) return;
  messages.forEach((message, i) => {
    const content = (message as { content?: unknown } | null)?.content;
    refuseLonger(`messages[${i}].content`, content, MAX_ITEMS.parts);
  });
}

function refuseLonger(param: string, list: unknown, limit: number): void {
  if (typeof list !== "object" || list === null) return;
  const length = Array.isArray(list) ? list.length : Object.keys(list).length;
  if (length <= limit) return;
  const message = `Cannot read request: ${param} must have at most ${limit} items: ` +
    `current value has ${length}`;
  throw new HttpError(400, "invalid_value", message, param);
}

function refuseTooLong(param: string, tokens: unknown, maxModelLen: number): void {
  if (!Array.isArray(tokens) || tokens.length <= maxModelLen) return;
  const message = `Cannot read request: ${param} must have at most ${maxModelLen} tokens, ` +
    `the model's length: current length is ${tokens.length} tokens`;
  throw new HttpError(400, "context_length_exceeded", message, param);
}

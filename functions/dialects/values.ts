/**
 * Values that answers of several dialects hold.
 *
 * @module
 */
import type { FinishReason } from "../../engine/types.ts";
import type { Tokenizer } from "../../model/spec.ts";
import { HttpError } from "./http_error.ts";

/** `chatcmpl-` or `cmpl-` and 32 random hexadecimal digits. */
export function newId(prefix: string): string {
  return `${prefix}-${crypto.randomUUID().replaceAll("-", "")}`;
}

/**
 * Why a sequence ended, for answers: one that was cut short has none.
 *
 * @throws {HttpError} 503 when the server cut the request short
 */
export function finishReason(reason: FinishReason): Exclude<FinishReason, "cancelled"> {
  if (reason !== "cancelled") return reason;
  throw new HttpError(503, "cancelled", "The request was cut short: the server is shutting down");
}

/** JSON has no infinity; -9999 is OpenAI's word for "never". */
export function finite(logprob: number): number {
  return Math.max(logprob, -9999);
}

/** A token as people read it; bytes that are half a character show as U+FFFD. */
export function tokenString(tokenizer: Tokenizer, token: number): string {
  return new TextDecoder().decode(tokenizer.tokenBytes(token));
}

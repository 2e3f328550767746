/**
 * Fields that clients may send and that are not served: errors, never ignored.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";

/** A field of this kind. Values for which `harmless` holds ask for nothing. */
export function unsupported(name: string, harmless: (value: unknown) => boolean = () => false) {
  return z.unknown().optional()
    .refine((value) => value === null || value === undefined || harmless(value), {
      error: "is not supported",
    })
    .openapi({ description: `Not supported: ${name}`, type: "object", deprecated: true });
}

/** For {@linkcode unsupported}. */
export const isFalse = (value: unknown) => value === false;
/** For {@linkcode unsupported}. It looks at one key: a text of megabytes has one for each character. */
export function isEmpty(value: unknown): boolean {
  if (Array.isArray(value)) return value.length === 0;
  if (typeof value !== "object" || value === null) return false;
  for (const _ in value) return false;
  return true;
}
const isTextFormat = (value: unknown) => (value as { type?: unknown }).type === "text";

/** Fields of OpenAI's and vLLM's two routes that change the answer there and are not served here. */
export const unsupportedFields = {
  response_format: unsupported("structured outputs", isTextFormat),
  structured_outputs: unsupported("structured outputs"),
  guided_json: unsupported("structured outputs"),
  guided_regex: unsupported("structured outputs"),
  guided_choice: unsupported("structured outputs"),
  guided_grammar: unsupported("structured outputs"),
  bad_words: unsupported("words; bad_words_token_ids is", isEmpty),
  allowed_token_ids: unsupported("a list of all that may be chosen"),
  truncate_prompt_tokens: unsupported("shortening of prompts"),
  use_beam_search: unsupported("beam search", isFalse),
  length_penalty: unsupported("beam search", (value) => value === 1),
  logits_processors: unsupported("logits processors", isEmpty),
  prompt_embeds: unsupported("embeddings as a prompt"),
  vllm_xargs: unsupported("arguments of plugins", isEmpty),
};

/**
 * The fields of a request that every route which generates has, and those that none has.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import type { GenerateRequest } from "../../engine/types.ts";
import { type Field, wireName } from "../../ffi/field.ts";
import { REQUEST_FIELDS } from "../../ffi/request_fields.ts";
import { fieldSchema, type FieldSchemas, fieldValue } from "./field_schema.ts";
import { present } from "./present.ts";

export { TokenId } from "./field_schema.ts";

const FIELDS = Object.entries<Field>(REQUEST_FIELDS).filter(([, { wire }]) => wire !== null);

/** To be spread into a request's schema. */
export const samplingFields = Object.fromEntries(
  FIELDS.map(([name, field]) => [wireName(name, REQUEST_FIELDS), fieldSchema(name, field)]),
) as FieldSchemas;

/** An output length. */
export const maxTokensField = (least: 0 | 1) => z.int().min(least).max(0x7fffffff).nullish();

/** What {@linkcode samplingFields} say, in the engine's words. */
export function toSampling(body: z.infer<z.ZodObject<FieldSchemas>>): GenerateRequest {
  const json: Readonly<Record<string, unknown>> = body;
  return present(Object.fromEntries(
    FIELDS.map(([name, field]) => [name, fieldValue(field, json[wireName(name, REQUEST_FIELDS)])]),
  ));
}

/**
 * A field that clients may send and that is not served: an error, never ignored. Values for which
 * `harmless` holds ask for nothing.
 */
export function unsupported(name: string, harmless: (value: unknown) => boolean = () => false) {
  return z.unknown().optional()
    .refine((value) => value === null || value === undefined || harmless(value), {
      error: "is not supported",
    })
    .openapi({ description: `Not supported: ${name}`, type: "object", deprecated: true });
}

/** For {@linkcode unsupported}. */
export const isFalse = (value: unknown) => value === false;
/** For {@linkcode unsupported}. */
export const isEmpty = (value: unknown) => Object.keys(value as object).length === 0;
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
  best_of: unsupported("best_of", (value) => value === 1),
  length_penalty: unsupported("beam search", (value) => value === 1),
  logits_processors: unsupported("logits processors", isEmpty),
  prompt_embeds: unsupported("embeddings as a prompt"),
  vllm_xargs: unsupported("arguments of plugins", isEmpty),
};

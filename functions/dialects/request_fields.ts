/**
 * The fields of a request that every dialect has, out of the engine's table.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import type { GenerateRequest } from "../../engine/types.ts";
import { type Field, wireName } from "../../ffi/field.ts";
import { REQUEST_FIELDS } from "../../ffi/request_fields.ts";
import { fieldSchema, type FieldSchemas, fieldValue } from "./field_schema.ts";
import { present } from "./present.ts";

const FIELDS = Object.entries<Field>(REQUEST_FIELDS).filter(([, { wire }]) => wire !== null);

/** To be spread into a body's schema. */
export const requestFields = Object.fromEntries(
  FIELDS.map(([name, field]) => [wireName(name, REQUEST_FIELDS), fieldSchema(name, field)]),
) as FieldSchemas;

/** An output length. */
export const maxTokensField = (least: 0 | 1) => z.int().min(least).max(0x7fffffff).nullish();

/** What {@linkcode requestFields} say, in the engine's words. */
export function toRequest(body: z.infer<z.ZodObject<FieldSchemas>>): GenerateRequest {
  const json: Readonly<Record<string, unknown>> = body;
  return present(Object.fromEntries(
    FIELDS.map(([name, field]) => [name, fieldValue(field, json[wireName(name, REQUEST_FIELDS)])]),
  ));
}

/**
 * Fields of a request out of the engine's tables: those that every dialect has, and those of dialects that take
 * messages.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import { CONVERSATION_FIELDS } from "../../engine/conversation/fields.ts";
import type { ConversationOptions, GenerateRequest } from "../../engine/types.ts";
import { type Field, type Fields, wireName } from "../../ffi/field.ts";
import { REQUEST_FIELDS } from "../../ffi/request_fields.ts";
import { fieldSchema, type FieldSchemas, fieldValue } from "./field_schema.ts";
import { present } from "./present.ts";

type Body<Table extends Fields> = z.infer<z.ZodObject<FieldSchemas<Table>>>;

/** To be spread into a body's schema. */
export const requestFields = schemasOf(REQUEST_FIELDS);

/** The same of dialects that take messages. */
export const conversationFields = schemasOf(CONVERSATION_FIELDS);

/** An output length. */
export const maxTokensField = (least: 0 | 1) => z.int().min(least).max(0x7fffffff).nullish();

/** What {@linkcode requestFields} say, in the engine's words. */
export function toRequest(body: Body<typeof REQUEST_FIELDS>): GenerateRequest {
  return valuesOf(REQUEST_FIELDS, body);
}

/** What {@linkcode conversationFields} say, in the engine's words. */
export function toConversation(body: Body<typeof CONVERSATION_FIELDS>): ConversationOptions {
  return valuesOf(CONVERSATION_FIELDS, body);
}

function entriesOf(table: Fields): [string, Field][] {
  return Object.entries(table).filter(([, { wire }]) => wire !== null);
}

function schemasOf<Table extends Fields>(table: Table): FieldSchemas<Table> {
  const schemas = entriesOf(table).map(([name, field]) =>
    [wireName(name, table), fieldSchema(name, field)] as const
  );
  return Object.fromEntries(schemas) as FieldSchemas<Table>;
}

function valuesOf(table: Fields, json: Readonly<Record<string, unknown>>): object {
  return present(Object.fromEntries(
    entriesOf(table).map(([name, field]) => [name, fieldValue(field, json[wireName(name, table)])]),
  ));
}

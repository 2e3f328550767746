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

/** An entry, and its name in JSON. */
type Entry = readonly [name: string, key: string, field: Field];

// Once, not for each request.
const REQUEST = entriesOf(REQUEST_FIELDS);
const CONVERSATION = entriesOf(CONVERSATION_FIELDS);

/** To be spread into a body's schema. */
export const requestFields = schemasOf(REQUEST) as FieldSchemas<typeof REQUEST_FIELDS>;

/** The same of dialects that take messages. */
export const conversationFields = schemasOf(CONVERSATION) as FieldSchemas<
  typeof CONVERSATION_FIELDS
>;

/** An output length. */
export const maxTokensField = (least: 0 | 1) => z.int().min(least).max(0x7fffffff).nullish();

/** What {@linkcode requestFields} say, in the engine's words. */
export function toRequest(body: Body<typeof REQUEST_FIELDS>): GenerateRequest {
  return valuesOf(REQUEST, body);
}

/** What {@linkcode conversationFields} say, in the engine's words. */
export function toConversation(body: Body<typeof CONVERSATION_FIELDS>): ConversationOptions {
  return valuesOf(CONVERSATION, body);
}

function entriesOf(table: Fields): readonly Entry[] {
  return Object.entries<Field>(table).filter(([, { wire }]) => wire !== null)
    .map(([name, field]) => [name, wireName(name, table), field]);
}

function schemasOf(entries: readonly Entry[]): object {
  return Object.fromEntries(entries.map(([name, key, field]) => [key, fieldSchema(name, field)]));
}

function valuesOf(entries: readonly Entry[], json: Readonly<Record<string, unknown>>): object {
  return present(Object.fromEntries(
    entries.map(([name, key, field]) => [name, fieldValue(field, json[key])]),
  ));
}

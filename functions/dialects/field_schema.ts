/**
 * From an entry of the request's table to its schema in JSON, and from the JSON back to the entry's value.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import {
  boundsOf,
  describeField,
  type Field,
  type Fields,
  type SnakeCase,
  snakeCase,
} from "../../ffi/field.ts";
import { brokenRule } from "../../ffi/field_rule.ts";
import { asSent } from "./as_sent.ts";
import { boundedList, boundedRecord, MAX_ITEMS, tokenIds } from "./bounded.ts";

const MAX_TEXT = 1024;
/** For readers whose numbers are doubles: the outermost that are within 64 bits. */
const SEEDS = { minimum: -9223372036854775000, maximum: 18446744073709550000 };
/** Tokens of a word that may not appear. */
const MAX_WORD = 64;

/** What JSON has for each kind. */
interface JsonOf {
  integer: number;
  number: number;
  seed: number | bigint;
  switch: boolean;
  text: string;
  texts: string | string[];
  tokens: number[];
  words: number[][];
  biases: Record<string, number>;
  object: Record<string, unknown>;
  objects: Record<string, unknown>[];
}

type WireName<K extends string, Entry> = Entry extends { wire: { name: infer Name } } ? Name
  : SnakeCase<K>;

/** Schemas of a table's entries, by their names in JSON, but of those that each route has by itself. */
export type FieldSchemas<Table extends Fields> = {
  [
    K in keyof Table & string as Table[K] extends { wire: null } ? never
      : WireName<K, Table[K]> & string
  ]: z.ZodOptional<z.ZodNullable<z.ZodType<JsonOf[Table[K]["kind"] & keyof JsonOf]>>>;
};

/** null is as good as absent. */
export function fieldSchema(name: string, field: Field): z.ZodType {
  const schema = kindSchema(name, field).nullish().describe(describeField(field, snakeCase));
  const type = BY_HAND[field.kind];
  return type === undefined ? schema : schema.openapi({ type: [type, "null"] });
}

/** Types of kinds that Zod does not check, and so does not describe: null would be missing. */
const BY_HAND: { readonly [K in Field["kind"]]?: "integer" | "array" | "object" } = {
  seed: "integer",
  tokens: "array",
  object: "object",
  objects: "array",
};

function kindSchema(name: string, field: Field): z.ZodType {
  const most = MAX_ITEMS[name as keyof typeof MAX_ITEMS];
  switch (field.kind) {
    case "integer":
    case "number": {
      const { min, above, max, whole } = { ...boundsOf(field), ...field.wire };
      let schema = whole ? z.int() : z.number();
      if (min !== undefined) schema = schema.min(min);
      if (above !== undefined) schema = schema.gt(above);
      return max === undefined ? schema : schema.max(max);
    }
    case "seed":
      return z.custom<number | bigint>((value) => brokenRule(field, value) === undefined, {
        error: "must be an integer of at most 64 bits, written in digits",
      }).openapi({ type: "integer", ...SEEDS });
    case "switch":
      return z.boolean();
    case "text":
      return z.string().min(1).max(MAX_TEXT);
    case "texts": {
      const text = z.string().min(1);
      const error = "must be a string or an array of strings";
      return z.union([text, boundedList(text, most)], { error });
    }
    case "tokens":
      return tokenIds({ max: most });
    case "words":
      return boundedList(tokenIds({ min: 1, max: MAX_WORD }), most);
    case "biases":
      return boundedRecord(
        z.string().regex(/^\d{1,10}$/, "must have token ids as keys"),
        z.number().min(field.min).max(field.max),
        most,
      );
    case "object":
      return asSent(z.looseObject({}), { type: "object" });
    case "objects": {
      const shown = { type: "array", items: { type: "object" }, maxItems: most };
      return asSent(boundedList(z.looseObject({}), most), shown);
    }
    default:
      throw new Error(`Cannot describe ${name}: requests hold no ${field.kind}`);
  }
}

/** The entry's value of what its schema let through; undefined where it says nothing. */
export function fieldValue(field: Field, json: unknown): unknown {
  if (json === null || json === undefined) return undefined;
  switch (field.kind) {
    case "integer":
      return json as number < field.min ? field.default : json;
    case "texts":
      return typeof json === "string" ? [json] : json;
    case "biases":
      return new Map(Object.entries(json).map(([token, bias]) => [Number(token), bias]));
    default:
      return json;
  }
}

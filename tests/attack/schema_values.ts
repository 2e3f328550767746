/**
 * Values of a JSON Schema, as OpenAPI documents have them, and values that are nearly so.
 *
 * @module
 */
import fc from "fast-check";

/** The parts of JSON Schema that our documents have. */
export interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly allOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | Schema;
  readonly items?: Schema;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
}

const MAX_DEPTH = 6;
/** Of ten fields one has a value of any kind. */
const WRONG = 1, OF = 10;

const texts = fc.oneof(
  fc.string({ unit: "binary", maxLength: 20 }),
  fc.constantFrom("", " ", "<|im_end|>", "\ud800", "\0", "__proto__", "a".repeat(3000)),
);
const numbers = fc.oneof(
  fc.integer({ min: -3, max: 130 }),
  fc.constantFrom(-1, 0, 0.5, 2 ** 31, 2 ** 32, 2 ** 53, 1e300, -1e300),
);
const anything = fc.oneof(fc.jsonValue({ maxDepth: 3 }), texts, numbers);

/** @param resolve the schema that a `$ref` names */
export function valuesOf(
  schema: Schema,
  resolve: (ref: string) => Schema,
  depth = 0,
): fc.Arbitrary<unknown> {
  const right = rightValues(schema, resolve, depth);
  return depth === 0 ? right : fc.oneof(
    { weight: OF - WRONG, arbitrary: right },
    { weight: WRONG, arbitrary: anything },
  );
}

function rightValues(
  schema: Schema,
  resolve: (ref: string) => Schema,
  depth: number,
): fc.Arbitrary<unknown> {
  const inside = (one: Schema) => valuesOf(one, resolve, depth + 1);
  if (depth > MAX_DEPTH) return fc.constant(null);
  if (schema.$ref !== undefined) return rightValues(resolve(schema.$ref), resolve, depth);
  if ("const" in schema) return fc.constant(schema.const);
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices !== undefined) {
    return fc.oneof(...choices.map((one) => rightValues(one, resolve, depth)));
  }
  if (schema.allOf !== undefined) {
    return fc.tuple(...schema.allOf.map((one) => rightValues(one, resolve, depth)))
      .map((parts) => Object.assign({}, ...parts as object[]));
  }
  const types = [schema.type ?? []].flat();
  if (types.length === 0) return anything;
  return fc.oneof(...types.map((type) => typedValues(type, schema, inside)));
}

function typedValues(
  type: string,
  schema: Schema,
  inside: (one: Schema) => fc.Arbitrary<unknown>,
): fc.Arbitrary<unknown> {
  switch (type) {
    case "object": {
      const { properties = {}, required = [], additionalProperties } = schema;
      const fields = Object.entries(properties).map(([name, one]) => [name, inside(one)] as const);
      const known = fc.record(Object.fromEntries(fields), {
        requiredKeys: required.filter((name) => name in properties),
        noNullPrototype: true,
      } as never);
      if (typeof additionalProperties !== "object") return known;
      const more = fc.dictionary(
        fc.oneof(texts, fc.nat(300).map(String)),
        inside(additionalProperties),
        {
          maxKeys: 4,
        },
      );
      return fc.tuple(known, more).map(([known, more]) => ({ ...more, ...known as object }));
    }
    case "array": {
      const { items = {}, minItems = 0, maxItems = 5 } = schema;
      return fc.array(inside(items), {
        minLength: minItems,
        maxLength: Math.min(maxItems, minItems + 4),
      });
    }
    case "string": {
      const { minLength = 0, maxLength = Infinity } = schema;
      return texts.map((text) => text.padEnd(minLength, "x").slice(0, maxLength));
    }
    case "integer":
    case "number": {
      const { minimum, maximum, exclusiveMinimum, exclusiveMaximum } = schema;
      const least = minimum ?? exclusiveMinimum ?? -Infinity;
      const most = maximum ?? exclusiveMaximum ?? Infinity;
      const whole = type === "integer";
      return numbers.map((number) =>
        Math.min(most, Math.max(least, whole ? Math.trunc(number) : number))
      );
    }
    case "boolean":
      return fc.boolean();
    default:
      return fc.constant(null);
  }
}

import assert from "node:assert/strict";
import { z } from "@hono/zod-openapi";
import { boundedList, boundedRecord, tokenIds } from "../../functions/dialects/bounded.ts";
import { describeIssue } from "../../functions/dialects/invalid_body.ts";

const either = z.union([z.string(), z.array(z.strictObject({ a: z.number() }))]);
const said = z.union([z.string(), z.array(z.int())], { error: "must be a text or a list" });

/** A schema, what it is given, and the sentence behind "Cannot read request: " with its field. */
const cases: readonly (readonly [
  schema: z.ZodType,
  body: unknown,
  message: string,
  param: string | null,
])[] = [
  [z.object({ a: z.string() }), {}, "a is missing", "a"],
  [z.object({ a: z.string() }), undefined, "the body is missing", null],
  [z.object({ a: z.string() }), 7, "the body must be an object: current value is 7", null],
  [z.object({ a: z.string() }), { a: null }, "a must be a string: current value is null", "a"],
  [z.object({ a: z.int() }), { a: "x" }, 'a must be a number: current value is "x"', "a"],
  [z.object({ a: z.array(z.int()) }), { a: 1 }, "a must be an array: current value is 1", "a"],
  [
    z.object({ a: z.record(z.string(), z.int()) }),
    { a: [1, 2] },
    "a must be an object: current value is an array of 2",
    "a",
  ],
  [z.object({ a: z.boolean() }), { a: {} }, "a must be a boolean: current value is an object", "a"],
  [z.object({ a: z.number().min(2) }), { a: 1 }, "a must be >= 2: current value is 1", "a"],
  [z.object({ a: z.number().gt(2) }), { a: 2 }, "a must be > 2: current value is 2", "a"],
  [z.object({ a: z.number().max(2) }), { a: 3 }, "a must be <= 2: current value is 3", "a"],
  [z.object({ a: z.number().lt(2) }), { a: 2 }, "a must be < 2: current value is 2", "a"],
  [
    z.object({ a: z.string().min(1) }),
    { a: "" },
    'a must have at least 1 character: current value is ""',
    "a",
  ],
  [
    z.object({ a: z.string().max(2) }),
    { a: "abc" },
    'a must have at most 2 characters: current value is "abc"',
    "a",
  ],
  [
    z.object({ a: z.array(z.int()).min(1) }),
    { a: [] },
    "a must have at least 1 item: current value has 0",
    "a",
  ],
  [
    z.object({ a: boundedList(z.int(), 2) }),
    { a: [1, "x", 3] },
    "a must have at most 2 items: current value has 3",
    "a",
  ],
  [
    z.object({ a: boundedRecord(z.string(), z.int(), 1) }),
    { a: { b: 1, c: "x" } },
    "a must have at most 1 item: current value has 2",
    "a",
  ],
  [
    z.object({
      a: boundedRecord(z.string().regex(/^\d$/, "must have digits as keys"), z.int(), 9),
    }),
    { a: { b: 1 } },
    'a must have digits as keys: current value is "b"',
    "a",
  ],
  [
    z.object({ a: boundedList(z.object({}), 9) }),
    { a: [{}, null, 1] },
    "a[1] must be an object: current value is null",
    "a[1]",
  ],
  [
    z.object({ a: z.array(z.object({ b: z.enum(["x", "y"]) })) }),
    { a: [{ b: "x" }, { b: "z" }] },
    'a[1].b must be "x" or "y": current value is "z"',
    "a[1].b",
  ],
  [
    z.object({ a: z.literal("x") }),
    { a: "long".repeat(30) },
    `a must be "x": current value is "${"long".repeat(19)}...`,
    "a",
  ],
  [
    z.object({ a: z.literal("x") }),
    { a: "y".repeat(78) },
    `a must be "x": current value is "${"y".repeat(78)}"`,
    "a",
  ],
  [z.object({ a: either }), { a: 7 }, "a has a wrong type: current value is 7", "a"],
  [
    z.object({ a: either }),
    { a: [{ a: 1 }, { a: "x" }] },
    'a[1].a must be a number: current value is "x"',
    "a[1].a",
  ],
  [z.object({ a: said }), { a: 7 }, "a must be a text or a list: current value is 7", "a"],
  [
    z.object({ a: said }),
    { a: [1, 0.5] },
    "a[1] must be an integer: current value is 0.5",
    "a[1]",
  ],
  [
    z.object({ a: z.union([z.string().min(2), z.int()]) }),
    { a: "x" },
    'a must have at least 2 characters: current value is "x"',
    "a",
  ],
  [
    z.object({ a: z.union([tokenIds({ min: 1 }), boundedList(tokenIds({ min: 1 }), 2)]) }),
    { a: [[1], [-1], [2]] },
    "a must have at most 2 items: current value has 3",
    "a",
  ],
  [
    z.object({ a: z.union([tokenIds({ min: 1 }), boundedList(tokenIds({ min: 1 }), 2)]) }),
    { a: [[1], [-1]] },
    "a[1][0] must be >= 0: current value is -1",
    "a[1][0]",
  ],
  [z.strictObject({ a: z.int() }), { a: 1, b: 2 }, "b is not a field of this route", "b"],
  [
    z.object({ a: z.strictObject({}) }),
    { a: { ["x".repeat(99)]: 1 } },
    `a.${"x".repeat(80)} is not a field of this route`,
    `a.${"x".repeat(80)}`,
  ],
  [
    z.object({ a: z.unknown().refine(() => false, { error: "is odd" }) }),
    {},
    "a is odd: current value is undefined",
    "a",
  ],
];

Deno.test("describeIssue() names the field, what is allowed and what was sent", () => {
  for (const [schema, body, message, param] of cases) {
    const { error } = schema.safeParse(body);
    const described = describeIssue(error!.issues[0]!, body);
    assert.deepEqual(described, { message: `Cannot read request: ${message}`, param });
  }
});

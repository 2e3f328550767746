/**
 * Lists in a body, refused by their length before any item is looked at, and token ids, which are checked
 * in a loop of their own: to have Zod check millions of items would keep every other request waiting.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";

/** Items of lists at most. */
export const MAX_ITEMS = {
  messages: 2048,
  /** Of one message's content. */
  parts: 256,
  /** Of one message. */
  toolCalls: 256,
  tools: 1024,
  documents: 1024,
  prompts: 128,
  logitBias: 1024,
  stop: 16,
  stopTokenIds: 256,
  badWords: 256,
  /** Of `/detokenize`. */
  tokensToText: 131_072,
} as const;

/**
 * A list of at most so many items. Where those are objects, the first that is none ends the check: Zod would
 * describe each of half a million.
 */
export function boundedList<T extends z.ZodType>(item: T, max: number, min = 0) {
  const list = z.array(item).min(min).max(max);
  return z.preprocess((value, ctx) => {
    if (!Array.isArray(value)) return value;
    if (value.length > max) {
      const bound = { origin: "array", maximum: max, inclusive: true } as const;
      ctx.addIssue({ code: "too_big", ...bound, input: value });
    } else if (item instanceof z.ZodObject) {
      const at = value.findIndex((one) =>
        typeof one !== "object" || one === null || Array.isArray(one)
      );
      const code = "invalid_type";
      if (at >= 0) ctx.addIssue({ code, expected: "object", input: value[at], path: [at] });
    }
    return value;
  }, list);
}

const PROTO = "__proto__";

/** An object of at most so many entries, whose keys have a pattern. */
export function boundedRecord<K extends z.ZodString, V extends z.ZodType>(
  key: K,
  item: V,
  max: number,
) {
  return z.preprocess((value, ctx) => {
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      const { length } = Object.keys(value);
      const issue = { origin: "record", maximum: max, inclusive: true, input: value } as const;
      if (length > max) ctx.addIssue({ code: "too_big", ...issue });
      // The one name that Zod passes over in silence.
      else if (Object.hasOwn(value, PROTO)) {
        const { issues } = key.safeParse(PROTO).error!;
        ctx.addIssue({ ...issue, code: "invalid_key", issues, path: [PROTO] });
      }
    }
    return value;
  }, z.record(key, item));
}

const MAX_UINT32 = 0xffff_ffff;

/** Token ids: integers of 32 bits. */
export function tokenIds({ min = 0, max }: { readonly min?: number; readonly max?: number } = {}) {
  return z.custom<number[]>().superRefine((value: unknown, ctx) => {
    const fault = faultOf(value, min, max);
    // Without `continue` a union takes this branch for the one that was meant.
    if (fault !== undefined) ctx.addIssue({ ...fault, continue: false });
  }).openapi({
    type: "array",
    items: { type: "integer", minimum: 0, maximum: MAX_UINT32 },
    ...(min > 0 && { minItems: min }),
    ...(max !== undefined && { maxItems: max }),
  });
}

function faultOf(value: unknown, min: number, max: number | undefined) {
  if (!Array.isArray(value)) {
    return { code: "invalid_type", expected: "array", input: value } as const;
  }
  const list = { origin: "array", inclusive: true, input: value } as const;
  if (value.length < min) return { code: "too_small", minimum: min, ...list } as const;
  if (max !== undefined && value.length > max) {
    return { code: "too_big", maximum: max, ...list } as const;
  }
  const at = value.findIndex((token) =>
    !Number.isInteger(token) || token < 0 || token > MAX_UINT32
  );
  if (at < 0) return undefined;
  const token = value[at];
  const item = { path: [at], input: token };
  if (!Number.isInteger(token)) return { code: "invalid_type", expected: "int", ...item } as const;
  const number = { origin: "number", inclusive: true, ...item } as const;
  return token < 0
    ? { code: "too_small", minimum: 0, ...number } as const
    : { code: "too_big", maximum: MAX_UINT32, ...number } as const;
}

/**
 * JSON that is checked and handed on as the caller wrote it. Zod builds objects anew, those keys first that
 * it knows, and templates print objects in their own order.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";

/** What `schema` lets through, untouched. @param shown for the description */
export function asSent<T extends z.ZodType>(schema: T, shown: object) {
  return z.custom<z.output<T>>().superRefine((value: unknown, ctx) => {
    const { error } = schema.safeParse(value);
    // Without `continue` a union takes this branch for the one that was meant.
    for (const issue of error?.issues ?? []) ctx.addIssue({ ...issue, continue: false } as never);
  }).openapi(shown);
}

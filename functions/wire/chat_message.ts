/**
 * Messages of a conversation, as OpenAI writes them and as chat templates read them.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import type { TemplateMessage } from "../../model/spec.ts";
import { MAX_ITEMS } from "./bounded_body.ts";
import { unsupported } from "./sampling.ts";

const TextPart = z.object({ type: z.literal("text"), text: z.string() });

const Content = z.union([z.string(), z.array(TextPart).min(1).max(MAX_ITEMS.parts)], {
  error: "must be a string or an array of text parts",
}).openapi({ description: "A string, or an array of text parts, which are joined" });

export const Message = z.object({
  role: z.enum(["system", "developer", "user", "assistant"])
    .describe("`developer` is read as `system`; `tool` is not supported"),
  content: Content,
  name: z.string().max(256).nullish(),
  tool_calls: unsupported("tool calls", (value) => Array.isArray(value) && value.length === 0),
  function_call: unsupported("tool calls"),
}).openapi("ChatMessage");

/** `developer` is OpenAI's newer name of `system`; chat templates know the older one. */
export function toTemplateMessage(
  { role, content, name }: z.infer<typeof Message>,
): TemplateMessage {
  return {
    role: role === "developer" ? "system" : role,
    content: typeof content === "string" ? content : content.map(({ text }) => text).join(""),
    ...(name !== null && name !== undefined && { name }),
  };
}

/**
 * Messages of a conversation, as OpenAI writes them and as chat templates read them.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import type { TemplateMessage } from "../../model/spec.ts";
import { boundedList, MAX_ITEMS } from "./bounded.ts";
import { unsupported } from "./unsupported.ts";

const TextPart = z.object({ type: z.literal("text"), text: z.string() });

const Content = z.union([z.string(), boundedList(TextPart, MAX_ITEMS.parts, 1)], {
  error: "must be a string or an array of text parts",
}).openapi({ description: "A string, or an array of text parts, which are joined" });

export const Message = z.object({
  role: z.enum(["system", "developer", "user", "assistant"])
    .describe("`developer` is read as `system`; `tool` is not supported"),
  content: Content,
  name: z.string().max(256).nullish(),
  reasoning: z.string().nullish().describe("What the assistant thought before it said this"),
  reasoning_content: z.string().nullish().describe("Older name of reasoning"),
  tool_calls: unsupported("tool calls", (value) => Array.isArray(value) && value.length === 0),
  function_call: unsupported("tool calls"),
}).openapi("ChatMessage");

/** Those of a conversation. */
export const Messages = boundedList(Message, MAX_ITEMS.messages, 1);

/** `developer` is OpenAI's newer name of `system`; chat templates know the older one. */
export function toTemplateMessage(
  { role, content, name, ...message }: z.infer<typeof Message>,
): TemplateMessage {
  const reasoning = message.reasoning ?? message.reasoning_content ?? undefined;
  return {
    role: role === "developer" ? "system" : role,
    content: typeof content === "string" ? content : content.map(({ text }) => text).join(""),
    ...(name !== null && name !== undefined && { name }),
    ...(reasoning !== undefined && { reasoning, reasoning_content: reasoning }),
  };
}

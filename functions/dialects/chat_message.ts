/**
 * Messages of a conversation, as OpenAI writes them and as the engine takes them.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import { asSent } from "./as_sent.ts";
import { boundedList, MAX_ITEMS } from "./bounded.ts";

const TextPart = z.object({ type: z.literal("text"), text: z.string() });

/** As an assistant's messages may have it, which clients send back: words like others. */
const RefusalPart = z.object({ type: z.literal("refusal"), refusal: z.string() })
  .transform(({ refusal }) => ({ type: "text" as const, text: refusal }));

const Part = z.discriminatedUnion("type", [TextPart, RefusalPart], {
  error: 'must be "text" or "refusal"',
});

const Content = z.union([z.string(), boundedList(Part, MAX_ITEMS.parts, 1)], {
  error: "must be a string or an array of text parts",
}).openapi({
  description: "A string, or an array of text parts: a line each for templates that take no parts",
});

const ToolCall = z.looseObject({
  id: z.string().optional(),
  type: z.literal("function").optional(),
  function: z.looseObject({
    name: z.string(),
    arguments: z.union([z.string(), z.record(z.string(), z.unknown())], {
      error: "must be a string or an object",
    }).nullish(),
  }),
});

export const Message = z.object({
  role: z.enum(["system", "developer", "user", "assistant", "tool"])
    .describe("`developer` is read as `system`"),
  content: Content.nullish().describe("Needed but beside tool_calls"),
  name: z.string().max(256).nullish(),
  reasoning: z.string().nullish().describe("What the assistant thought before it said this"),
  reasoning_content: z.string().nullish().describe("Older name of reasoning"),
  tool_calls: asSent(boundedList(ToolCall, MAX_ITEMS.toolCalls), {
    type: ["array", "null"],
    items: { type: "object" },
    description: "What the assistant asked tools for",
  }).nullish(),
  tool_call_id: z.string().max(256).nullish().describe("The call that a tool's message answers"),
  function_call: z.custom<null>((value) => value === null, {
    error: "is not supported, tool_calls is",
  })
    .optional().openapi({ type: "null" }),
}).openapi("ChatMessage");

/** Those of a conversation. */
export const Messages = boundedList(Message, MAX_ITEMS.messages, 1);

/**
 * From messages to what chat templates read, as vLLM and Transformers give it to them.
 *
 * @module
 */
import type { TextOrigin } from "../../model/jinja/text.ts";
import { Said } from "../../model/jinja/values.ts";
import type { ChatTemplate } from "../../model/spec.ts";
import { refuse, SUBMITTING } from "../refuse.ts";
import type { Message, ToolCall } from "./types.ts";

/** Roles that templates make control tokens of: `<|user|>`. A role of the caller's own is a text. */
const ROLES: ReadonlySet<string> = new Set(["assistant", "system", "tool", "user"]);

/** A message as a template reads it, with fields that are there only where they say something. */
export interface MessageVariable {
  readonly role: string | Said;
  readonly content: Said | readonly { readonly type: "text"; readonly text: Said }[];
  readonly [field: string]: unknown;
}

/**
 * The `messages` of a template.
 *
 * @throws {EngineError} `invalid_argument` for a message that says nothing, or in no way that is known
 */
export function messageVariables(
  messages: readonly Message[],
  { takesParts }: Pick<ChatTemplate, "takesParts">,
): MessageVariable[] {
  return messages.map((message, i) => {
    const where = `messages[${i}]`;
    const role = roleOf(message);
    const origin: TextOrigin = role === "assistant" ? "assistant" : "caller";
    const said = (json: unknown) => new Said(json, origin);
    const parts = partsOf(message, where);
    // A tool's answer is a text for every template.
    const content = takesParts && role !== "tool"
      ? parts.map((text) => ({ type: "text" as const, text: said(text) }))
      : said(parts.join("\n"));
    return {
      role: ROLES.has(role) ? role : said(role),
      content,
      ...(role === "assistant" && assistantFields(message, where, said)),
      ...(role === "tool" && givenFields({ tool_call_id: message.tool_call_id }, said)),
      ...givenFields({ name: message.name }, said),
    };
  });
}

/** `developer` is OpenAI's newer name of `system`; chat templates know the older one. */
function roleOf({ role }: Message): string {
  return role === "developer" ? "system" : role;
}

function partsOf({ role, content, tool_calls }: Message, where: string): string[] {
  if (typeof content === "string") return [content];
  if (content === null || content === undefined) {
    if (role === "assistant" && tool_calls?.length) return [];
    return refuse(SUBMITTING, `${where}.content`, "be there, as there are no tool calls", "null");
  }
  return content.map(({ type, text }, i) => {
    if (type === "text") return text;
    return refuse(SUBMITTING, `${where}.content[${i}].type`, 'be "text"', String(type));
  });
}

/** Templates know the reasoning by one of three names. No calls are none, for templates that look. */
function assistantFields(message: Message, where: string, said: (json: unknown) => Said) {
  const reasoning = message.reasoning ?? message.reasoning_content;
  const calls = message.tool_calls?.map((call, i) =>
    withArguments(call, `${where}.tool_calls[${i}]`)
  );
  return givenFields({
    tool_calls: calls?.length ? calls : undefined,
    reasoning,
    reasoning_content: reasoning,
    thinking: reasoning,
  }, said);
}

/** Templates take a call's arguments as an object; OpenAI writes them as JSON in a string. */
function withArguments(call: ToolCall, where: string): ToolCall {
  const { arguments: written } = call.function;
  return { ...call, function: { ...call.function, arguments: argumentsOf(written, where) } };
}

function argumentsOf(written: string | object | null | undefined, where: string): object {
  if (typeof written === "object" && written !== null) return written;
  if (!written) return {};
  try {
    return JSON.parse(written);
  } catch {
    return refuse(SUBMITTING, `${where}.function.arguments`, "be JSON", written.slice(0, 80));
  }
}

/** Those that say something. */
function givenFields(
  fields: Readonly<Record<string, unknown>>,
  said: (json: unknown) => Said,
): Record<string, Said> {
  return Object.fromEntries(
    Object.entries(fields).filter(([, field]) => field !== undefined && field !== null)
      .map(([name, field]) => [name, said(field)]),
  );
}

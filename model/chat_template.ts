/**
 * Chat templates: the Jinja text that a model's publisher ships, rendered as Transformers does.
 *
 * @module
 */
import { Template } from "./jinja/template.ts";
import { type Budget, TemplateError } from "./jinja/run.ts";
import { from, type TextOrigin } from "./jinja/text.ts";
import { Dict, fromJson, type Value } from "./jinja/values.ts";
import type { ChatTemplate, ReasoningMarkers, TemplateMessage, Tokenizer } from "./spec.ts";

const MAX_TEMPLATE_LENGTH = 1 << 17; // the longest in use have about 20,000

/** Markers that models in use have. */
const REASONING_MARKERS: readonly ReasoningMarkers[] = [
  { start: "<think>", end: "</think>" }, // DeepSeek, Qwen, GLM and most others
  { start: "[THINK]", end: "[/THINK]" }, // Mistral
  { start: "<seed:think>", end: "</seed:think>" },
  { start: "◁think▷", end: "◁/think▷" }, // Kimi
];

/** Roles that templates make control tokens of: `<|user|>`. A role of the caller's own is a text. */
const ROLES: ReadonlySet<string> = new Set([
  "assistant",
  "developer",
  "system",
  "tool",
  "user",
]);

/**
 * Compile a chat template. One that does not parse renders nothing: its model is there for prompts and
 * tokens, and each chat is refused with the reason.
 *
 * @param template the Jinja text
 * @param tokenizer names the BOS and EOS tokens that templates refer to
 */
export function createChatTemplate(
  template: string,
  tokenizer: Pick<Tokenizer, "bosToken" | "eosToken">,
): ChatTemplate {
  const compiled = compile(template);
  const tokens = new Map<string, Value>();
  if (tokenizer.bosToken !== undefined) tokens.set("bos_token", tokenizer.bosToken);
  if (tokenizer.eosToken !== undefined) tokens.set("eos_token", tokenizer.eosToken);
  return {
    // A template that opens the reasoning itself has the first marker alone, one that only takes it out
    // of the history the second.
    reasoning: REASONING_MARKERS.find(({ start, end }) =>
      template.includes(start) || template.includes(end)
    ),
    render(messages, { addGenerationPrompt }) {
      if (compiled instanceof TemplateError) throw compiled;
      // Transformers hands over both where there are none, too.
      const variables = new Map<string, Value>([["tools", null], ["documents", null], ...tokens]);
      variables.set("messages", messages.map(toValue));
      variables.set("add_generation_prompt", addGenerationPrompt);
      return compiled.render(variables, { budget: budgetFor(messages), now: new Date() });
    },
  };
}

function compile(template: string): Template | TemplateError {
  if (template.length > MAX_TEMPLATE_LENGTH) {
    return new TemplateError(
      `it must have at most ${MAX_TEMPLATE_LENGTH} characters: it has ${template.length}`,
    );
  }
  try {
    return new Template(template);
  } catch (error) {
    if (error instanceof TemplateError) {
      return new TemplateError(`it does not parse: ${error.message}`);
    }
    throw error;
  }
}

/** Its texts know who wrote them. */
function toValue(message: TemplateMessage): Value {
  const origin: TextOrigin = message.role === "assistant" ? "assistant" : "caller";
  const { role, ...rest } = message;
  const value = new Dict([["role", ROLES.has(role) ? role : from(role, origin)]]);
  for (const [key, field] of Object.entries(rest)) {
    if (field !== undefined) value.set(key, fromJson(field, origin));
  }
  return value;
}

/**
 * Ordinary templates take up to 300 steps a message and go over its text a few times; some look back at
 * all messages from each, which a thousand of them must not forbid.
 */
function budgetFor(messages: readonly TemplateMessage[]): Budget {
  const texts = messages.flatMap((message) => Object.values(message));
  const characters = texts.reduce((sum, text) => sum + text.length, 0);
  return {
    steps: 1_000_000 + 4_000 * messages.length + 2 * characters,
    characters: 4_000_000 + 8_000 * messages.length + 16 * characters,
  };
}

/**
 * Chat templates: the Jinja text that a model's publisher ships, rendered as Transformers does.
 *
 * @module
 */
import { takesParts } from "./content_format.ts";
import { Template } from "./jinja/template.ts";
import { type Budget, TemplateError } from "./jinja/run.ts";
import { fromJson, Said } from "./jinja/values.ts";
import type { ChatTemplate, ReasoningMarkers, TemplateVariables, Tokenizer } from "./spec.ts";

/** What folders and GGUF files call the template for conversations with tools. */
export const TOOL_USE = "tool_use";

const MAX_TEMPLATE_LENGTH = 1 << 17; // the longest in use have about 20,000

/** Markers that models in use have. */
const REASONING_MARKERS: readonly ReasoningMarkers[] = [
  { start: "<think>", end: "</think>" }, // DeepSeek, Qwen, GLM and most others
  { start: "[THINK]", end: "[/THINK]" }, // Mistral
  { start: "<seed:think>", end: "</seed:think>" },
  { start: "◁think▷", end: "◁/think▷" }, // Kimi
];

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
  const tokens = Object.entries({ bos_token: tokenizer.bosToken, eos_token: tokenizer.eosToken })
    .filter(([, token]) => token !== undefined);
  return {
    // A template that opens the reasoning itself has the first marker alone, one that only takes it out
    // of the history the second.
    reasoning: REASONING_MARKERS.find(({ start, end }) =>
      template.includes(start) || template.includes(end)
    ),
    source: template,
    takesParts: compiled instanceof Template && takesParts(compiled.statements),
    render(variables) {
      if (compiled instanceof TemplateError) throw compiled;
      const values = [...tokens, ...Object.entries(variables)]
        .map(([name, json]) => [name, fromJson(json)] as const);
      return compiled.render(new Map(values), { budget: budgetFor(variables), now: new Date() });
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

/** What no input makes more: the thread must not be taken for long, nor all memory. */
const MOST: Budget = { steps: 15_000_000, characters: 256_000_000, milliseconds: 2000 };

/**
 * Ordinary templates take up to 300 steps a message and go over its text a few times; some look back at
 * all messages from each, which a thousand of them must not forbid.
 */
export function budgetFor(variables: TemplateVariables): Budget {
  const { messages } = variables;
  const count = Array.isArray(messages) ? messages.length : 0;
  const characters = charactersOf(variables);
  return {
    steps: Math.min(MOST.steps, 1_000_000 + 4_000 * count + 2 * characters),
    characters: Math.min(MOST.characters, 4_000_000 + 32_000 * count + 16 * characters),
    milliseconds: MOST.milliseconds,
  };
}

/** Of all texts in it, the keys of objects too. */
function charactersOf(json: unknown): number {
  if (typeof json === "string") return json.length;
  if (typeof json !== "object" || json === null) return 0;
  if (json instanceof Said) return charactersOf(json.json);
  const keys = Array.isArray(json) ? [] : Object.keys(json);
  return [...keys, ...Object.values(json)].reduce((sum, item) => sum + charactersOf(item), 0);
}

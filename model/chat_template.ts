/**
 * Chat templates: the Jinja text that a model's publisher ships, rendered as Transformers does.
 *
 * @module
 */
import { Template } from "@huggingface/jinja";
import { type ChatTemplate, ModelError, type ReasoningMarkers, type Tokenizer } from "./spec.ts";

const MAX_TEMPLATE_LENGTH = 1 << 17; // the longest in use have about 20,000

/** Markers that models in use have. */
const REASONING_MARKERS: readonly ReasoningMarkers[] = [
  { start: "<think>", end: "</think>" }, // DeepSeek, Qwen, GLM and most others
  { start: "[THINK]", end: "[/THINK]" }, // Mistral
  { start: "<seed:think>", end: "</seed:think>" },
  { start: "◁think▷", end: "◁/think▷" }, // Kimi
];

/**
 * Compile a chat template.
 *
 * @param source where the template comes from, for messages
 * @param template the Jinja text
 * @param tokenizer names the BOS and EOS tokens that templates refer to
 * @throws {ModelError} when it does not parse
 */
export function createChatTemplate(
  source: string,
  template: string,
  tokenizer: Pick<Tokenizer, "bosToken" | "eosToken">,
): ChatTemplate {
  if (template.length > MAX_TEMPLATE_LENGTH) {
    throw new ModelError(
      `Cannot open model ${source}: its chat template must have at most ${MAX_TEMPLATE_LENGTH} ` +
        `characters: it has ${template.length}`,
    );
  }
  let compiled: Template;
  try {
    compiled = new Template(template);
  } catch (error) {
    throw new ModelError(
      `Cannot open model ${source}: its chat template does not parse: ${(error as Error).message}`,
    );
  }
  return {
    // A template that opens the reasoning itself has the first marker alone, one that only takes it out
    // of the history the second.
    reasoning: REASONING_MARKERS.find(({ start, end }) =>
      template.includes(start) || template.includes(end)
    ),
    render: (messages, { addGenerationPrompt }) =>
      compiled.render({
        messages,
        add_generation_prompt: addGenerationPrompt,
        bos_token: tokenizer.bosToken ?? "",
        eos_token: tokenizer.eosToken ?? "",
      }),
  };
}

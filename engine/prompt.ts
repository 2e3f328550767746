/**
 * From a request's prompt, tokens or messages to the text or ids that the model gets.
 *
 * @module
 */
import type { ChatTemplate, Model, TemplateMessage } from "../model/spec.ts";
import type { ReasoningStart } from "./reasoning.ts";
import { refuse, SUBMITTING } from "./refuse.ts";
import type { GenerateRequest } from "./types.ts";

/** Token ids as they are, or text to encode. */
export type Prompt =
  | { readonly tokens: readonly number[] }
  | {
    readonly text: string;
    readonly addSpecialTokens: boolean;
    /** Of a chat with a model that reasons. */
    readonly reasoning?: ReasoningStart;
  };

/** @throws {EngineError} `invalid_argument` where the model has no chat template or it refuses */
export function promptOf(
  request: GenerateRequest,
  model: Pick<Model, "name" | "chatTemplate">,
): Prompt {
  if (request.tokens !== undefined) return { tokens: request.tokens };
  if (request.prompt !== undefined) {
    return { text: request.prompt, addSpecialTokens: request.addSpecialTokens ?? true };
  }
  const { chatTemplate, name } = model;
  if (chatTemplate === undefined) {
    const rule = `be absent, as ${name} carries no chat template: use a prompt`;
    refuse(SUBMITTING, "messages", rule, undefined);
  }
  const text = render(chatTemplate, request.messages ?? []);
  const { reasoning: markers } = chatTemplate;
  if (markers === undefined) return { text, addSpecialTokens: false };
  const isOpen = text.trimEnd().endsWith(markers.start);
  return { text, addSpecialTokens: false, reasoning: { markers, isOpen } };
}

function render(template: ChatTemplate, messages: readonly TemplateMessage[]): string {
  try {
    return template.render(messages, { addGenerationPrompt: true }).text;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const rule = `be what the model's chat template takes, which says: ${reason}`;
    refuse(SUBMITTING, "messages", rule, undefined);
  }
}

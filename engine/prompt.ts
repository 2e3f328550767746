/**
 * From a request's prompt, tokens or messages to the text or ids that the model gets.
 *
 * @module
 */
import type { Model } from "../model/spec.ts";
import { refuse, SUBMITTING } from "./refuse.ts";
import type { GenerateRequest } from "./types.ts";

/** Token ids as they are, or text to encode. */
export type Prompt =
  | { readonly tokens: readonly number[] }
  | { readonly text: string; readonly addSpecialTokens: boolean };

/** @throws {EngineError} `invalid_argument` where the model has no chat template or it refuses */
export function promptOf(
  request: GenerateRequest,
  model: Pick<Model, "name" | "chatTemplate">,
): Prompt {
  if (request.tokens !== undefined) return { tokens: request.tokens };
  if (request.prompt !== undefined) {
    return { text: request.prompt, addSpecialTokens: request.addSpecialTokens ?? true };
  }
  return { text: renderMessages(request, model), addSpecialTokens: false };
}

function renderMessages(
  request: GenerateRequest,
  model: Pick<Model, "name" | "chatTemplate">,
): string {
  if (model.chatTemplate === undefined) {
    const rule = `be absent, as ${model.name} carries no chat template: use a prompt`;
    refuse(SUBMITTING, "messages", rule, undefined);
  }
  try {
    return model.chatTemplate.render(request.messages ?? [], { addGenerationPrompt: true });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const rule = `be what the model's chat template takes, which says: ${reason}`;
    refuse(SUBMITTING, "messages", rule, undefined);
  }
}

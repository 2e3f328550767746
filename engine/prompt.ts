/**
 * From a request's prompt, tokens or messages to the text or ids that the model gets.
 *
 * @module
 */
import type { Model } from "../model/spec.ts";
import { EngineError, type GenerateRequest } from "./types.ts";

/** Token ids as they are, or text to encode. */
export type Prompt =
  | { readonly tokens: readonly number[] }
  | { readonly text: string; readonly addSpecialTokens: boolean };

/** @throws {EngineError} `invalid_argument` where the model has no chat template or it refuses */
export function promptOf(request: GenerateRequest, model: Model): Prompt {
  if (request.tokens !== undefined) return { tokens: request.tokens };
  if (request.prompt !== undefined) {
    return { text: request.prompt, addSpecialTokens: request.addSpecialTokens ?? true };
  }
  return { text: renderMessages(request, model), addSpecialTokens: false };
}

function renderMessages(request: GenerateRequest, model: Model): string {
  if (model.chatTemplate === undefined) {
    throw new EngineError(
      "invalid_argument",
      `Cannot submit request: messages need a chat template and ${model.name} carries none: use prompt`,
      { field: "messages" },
    );
  }
  try {
    return model.chatTemplate.render(request.messages ?? [], { addGenerationPrompt: true });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new EngineError(
      "invalid_argument",
      `Cannot submit request: messages were refused by the model's chat template: ${reason}`,
      { field: "messages" },
    );
  }
}

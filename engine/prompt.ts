/**
 * From a request's prompt, tokens or messages to the text or ids that the model gets.
 *
 * @module
 */
import type { Model } from "../model/spec.ts";
import { renderConversation } from "./conversation/render.ts";
import type { ReasoningStart } from "./reasoning.ts";
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
  const { text, template } = renderConversation({ messages: request.messages ?? [] }, model);
  const { reasoning: markers } = template;
  if (markers === undefined) return { text, addSpecialTokens: false };
  const isOpen = text.trimEnd().endsWith(markers.start);
  return { text, addSpecialTokens: false, reasoning: { markers, isOpen } };
}

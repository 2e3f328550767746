/**
 * From a request's prompt, tokens or messages to the text or ids that the model gets.
 *
 * @module
 */
import type { LiteralSpan } from "../model/spec.ts";
import { literalSpans } from "./conversation/literal.ts";
import { renderConversation, type TemplatesOf } from "./conversation/render.ts";
import type { ReasoningStart } from "./reasoning.ts";
import type { GenerateRequest } from "./types.ts";

/** Text to encode. */
export interface TextPrompt {
  readonly text: string;
  readonly addSpecialTokens: boolean;
  /** Where it is text whatever it spells. */
  readonly literal?: readonly LiteralSpan[];
  /** Of a chat with a model that reasons. */
  readonly reasoning?: ReasoningStart | undefined;
}

/** Token ids as they are, or text to encode. */
export type Prompt = { readonly tokens: readonly number[] } | TextPrompt;

/** @throws {EngineError} `invalid_argument` where the model has no chat template or it refuses */
export function promptOf(request: GenerateRequest, model: TemplatesOf): Prompt {
  if (request.tokens !== undefined) return { tokens: request.tokens };
  return textPromptOf(request, model);
}

/** The same of a request without token ids. @throws {EngineError} */
export function textPromptOf(request: GenerateRequest, model: TemplatesOf): TextPrompt {
  if (request.prompt !== undefined) {
    return { text: request.prompt, addSpecialTokens: request.addSpecialTokens ?? true };
  }
  const { messages = [], addSpecialTokens = false } = request;
  const rendered = renderConversation({ ...request, messages }, model);
  const { text, reasoning } = rendered;
  return { text, addSpecialTokens, literal: literalSpans(rendered), reasoning };
}

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

/** Token ids as they are, or text to encode. */
export type Prompt =
  | { readonly tokens: readonly number[] }
  | {
    readonly text: string;
    readonly addSpecialTokens: boolean;
    /** Where it is text whatever it spells. */
    readonly literal?: readonly LiteralSpan[];
    /** Of a chat with a model that reasons. */
    readonly reasoning?: ReasoningStart | undefined;
  };

/** @throws {EngineError} `invalid_argument` where the model has no chat template or it refuses */
export function promptOf(
  request: GenerateRequest,
  model: TemplatesOf,
): Prompt {
  if (request.tokens !== undefined) return { tokens: request.tokens };
  if (request.prompt !== undefined) {
    return { text: request.prompt, addSpecialTokens: request.addSpecialTokens ?? true };
  }
  const { messages = [] } = request;
  const rendered = renderConversation({ ...request, messages }, model);
  const { text, reasoning } = rendered;
  return { text, addSpecialTokens: false, literal: literalSpans(rendered), reasoning };
}

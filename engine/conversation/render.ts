/**
 * From a conversation to the text that the model goes on with.
 *
 * @module
 */
import type { RenderedText } from "../../model/jinja/template.ts";
import type { ChatTemplate, Model } from "../../model/spec.ts";
import { refuse, SUBMITTING } from "../refuse.ts";
import type { Message } from "./message.ts";
import { messageVariables } from "./variables.ts";

/** Messages, and how they become a text. */
export interface Conversation {
  readonly messages: readonly Message[];
  /** Open the assistant's turn. [true] */
  readonly addGenerationPrompt?: boolean;
}

/** A rendered conversation, and the template that it was rendered with. */
export interface RenderedConversation extends RenderedText {
  readonly template: ChatTemplate;
}

/** @throws {EngineError} `invalid_argument` where the model has no chat template or it refuses */
export function renderConversation(
  { messages, addGenerationPrompt = true }: Conversation,
  { chatTemplate: template, name }: Pick<Model, "name" | "chatTemplate">,
): RenderedConversation {
  if (template === undefined) {
    const rule = `be absent, as ${name} carries no chat template: use a prompt`;
    refuse(SUBMITTING, "messages", rule, undefined);
  }
  const variables = {
    messages: messageVariables(messages, template),
    // Transformers hands over both where there are none, too.
    tools: null,
    documents: null,
    add_generation_prompt: addGenerationPrompt,
  };
  try {
    return { ...template.render(variables), template };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const rule = `be what the model's chat template takes, which says: ${reason}`;
    return refuse(SUBMITTING, "messages", rule, undefined);
  }
}

/**
 * From a conversation to the text that the model goes on with.
 *
 * @module
 */
import type { RenderedText } from "../../model/jinja/template.ts";
import { Said } from "../../model/jinja/values.ts";
import type { ChatTemplate, Model, TemplateVariables } from "../../model/spec.ts";
import type { ReasoningStart } from "../reasoning.ts";
import { refuse, SUBMITTING } from "../refuse.ts";
import { cutAtMark, markFinal } from "./continued.ts";
import type { Conversation } from "./types.ts";
import { messageVariables } from "./variables.ts";

/** What vLLM and Transformers take for themselves, or set. */
const RESERVED: ReadonlySet<string> = new Set([
  "add_generation_prompt",
  "additional_special_tokens",
  "bos_token",
  "chat_template",
  "cls_token",
  "continue_final_message",
  "conversation",
  "documents",
  "eos_token",
  "mask_token",
  "max_length",
  "messages",
  "pad_token",
  "padding",
  "return_assistant_tokens_mask",
  "return_dict",
  "return_tensors",
  "sep_token",
  "tokenize",
  "tokenizer_kwargs",
  "tools",
  "truncation",
  "unk_token",
]);

/** A rendered conversation. */
export interface RenderedConversation extends RenderedText {
  /** Of a model that reasons. */
  readonly reasoning: ReasoningStart | undefined;
}

/** What a conversation is rendered with. */
export type TemplatesOf = Pick<Model, "name" | "chatTemplate" | "toolUseTemplate">;

/**
 * @throws {EngineError} `invalid_argument` where the model has no chat template or it refuses, and for fields
 * that do not go together
 */
export function renderConversation(
  conversation: Conversation,
  { chatTemplate, toolUseTemplate, name }: TemplatesOf,
): RenderedConversation {
  const hasTools = conversation.tools !== undefined && conversation.tools.length > 0;
  const template = hasTools ? toolUseTemplate ?? chatTemplate : chatTemplate;
  if (template === undefined) {
    const rule = `be absent, as ${name} carries no chat template: use a prompt`;
    return refuse(SUBMITTING, "messages", rule, undefined);
  }
  const { continueFinalMessage = false, addGenerationPrompt = !continueFinalMessage } =
    conversation;
  if (continueFinalMessage && addGenerationPrompt) {
    const rule = "be false, as the last message is gone on with";
    return refuse(SUBMITTING, "addGenerationPrompt", rule, "true");
  }
  const messages = messageVariables(conversation.messages, template);
  const final = continueFinalMessage ? markFinal(messages) : undefined;
  const rendered = render(template, {
    ...ownVariables(conversation.chatTemplateKwargs ?? {}),
    messages: final?.marked ?? messages,
    tools: saidList(conversation.tools),
    documents: saidList(conversation.documents),
    add_generation_prompt: addGenerationPrompt,
  });
  const { text, spans } = final === undefined ? rendered : cutAtMark(rendered, final.text);
  return { text, spans, reasoning: reasoningStart(template, text, final?.text) };
}

/** The caller's own. */
function ownVariables(kwargs: Readonly<Record<string, unknown>>): TemplateVariables {
  const own = Object.entries(kwargs).map(([name, value]) => {
    if (!RESERVED.has(name)) return [name, new Said(value, "caller")];
    const rule = "be absent, as chat templates are given it otherwise";
    return refuse(SUBMITTING, `chatTemplateKwargs.${name}`, rule, undefined);
  });
  return Object.fromEntries(own);
}

/** Transformers hands over none where there is nothing, too; an empty list is nothing. */
function saidList(list: readonly object[] | undefined): Said | null {
  return list?.length ? new Said(list, "caller") : null;
}

function render(template: ChatTemplate, variables: TemplateVariables): RenderedText {
  try {
    return template.render(variables);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const rule = `be what the model's chat template takes, which says: ${reason}`;
    return refuse(SUBMITTING, "messages", rule, undefined);
  }
}

/** The template may open the reasoning, and so may a last message that is gone on with. */
function reasoningStart(
  { reasoning: markers }: ChatTemplate,
  text: string,
  final: string | undefined,
): ReasoningStart | undefined {
  if (markers === undefined) return undefined;
  const { start, end } = markers;
  const isOpen = text.trimEnd().endsWith(start) ||
    (final !== undefined && final.lastIndexOf(start) > final.lastIndexOf(end));
  return { markers, isOpen };
}

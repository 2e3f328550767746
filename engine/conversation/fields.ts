/**
 * The fields of a request that say how its messages become a text.
 *
 * @module
 */
import { entry } from "../../ffi/field.ts";

/** See {@linkcode ConversationOptions}. */
export const CONVERSATION_FIELDS = {
  tools: entry(
    { kind: "objects", shown: "none", inC: null },
    "Tools that the chat template is told of, as OpenAI writes them",
  ),
  documents: entry(
    { kind: "objects", shown: "none", inC: null },
    "Documents that the chat template is told of",
  ),
  chatTemplateKwargs: entry(
    { kind: "object", shown: "none", inC: null },
    "Further variables of the chat template: enable_thinking",
  ),
  addGenerationPrompt: entry({
    kind: "switch",
    default: true,
    shown: "true, but with `continueFinalMessage`",
    inC: null,
  }, "Open the assistant's turn"),
  continueFinalMessage: entry(
    { kind: "switch", default: false, inC: null },
    "Go on with the last message instead of answering it",
  ),
};

/**
 * The chat template of a Hugging Face folder for conversations with tools, where it has one beside the
 * default.
 *
 * @module
 */
import { join } from "node:path";
import { createChatTemplate } from "./chat_template.ts";
import { readJsonObject, readTextFile } from "./json_file.ts";
import type { ChatTemplate, Tokenizer } from "./spec.ts";

const MAX_BYTES = 1 << 24;

/** Its name in folders, and in GGUF files. */
export const TOOL_USE = "tool_use";

/** Files of their own go before the list in `tokenizer_config.json`, as in Transformers. */
export function readToolUseTemplate(
  folder: string,
  tokenizer: Tokenizer,
): ChatTemplate | undefined {
  const file = join(folder, "additional_chat_templates", `${TOOL_USE}.jinja`);
  const template = readTextFile(file, MAX_BYTES) ?? listed(folder);
  return template === undefined ? undefined : createChatTemplate(template, tokenizer);
}

function listed(folder: string): string | undefined {
  if (readTextFile(join(folder, "chat_template.jinja"), MAX_BYTES) !== undefined) return undefined;
  const config = readJsonObject(join(folder, "tokenizer_config.json"), MAX_BYTES);
  const templates = config?.["chat_template"];
  if (!Array.isArray(templates)) return undefined;
  const template = templates.find((entry) => entry?.name === TOOL_USE)?.template;
  return typeof template === "string" ? template : undefined;
}

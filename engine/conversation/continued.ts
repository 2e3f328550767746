/**
 * A last message that the model goes on with: the rendered text ends where its content does. As Transformers
 * does it, a mark is rendered with the content, and the text cut before it.
 *
 * @module
 */
import { strip } from "../../model/jinja/string_methods.ts";
import type { RenderedText } from "../../model/jinja/template.ts";
import { cut, plain, Text } from "../../model/jinja/text.ts";
import { Said } from "../../model/jinja/values.ts";
import { refuse, SUBMITTING } from "../refuse.ts";
import type { MessageVariable } from "./variables.ts";

/** Templates that trim contents take its space away, which tells those from others. */
const MARK = "CONTINUE_FINAL_MESSAGE_TAG ";

/**
 * The messages with a mark behind the last one's text, and that text.
 *
 * @throws {EngineError} `invalid_argument` where there is no text to go on with
 */
export function markFinal(
  messages: readonly MessageVariable[],
): { readonly marked: readonly MessageVariable[]; readonly text: string } {
  const last = messages.at(-1)!;
  const { content } = last;
  const final = content instanceof Said ? content : content.at(-1)?.text;
  const text = final?.json;
  if (final === undefined || typeof text !== "string") {
    return refuse(SUBMITTING, "messages", "end with a text to go on with", undefined);
  }
  const marked = new Said(text + MARK, final.origin);
  const parts = content instanceof Said
    ? marked
    : [...content.slice(0, -1), { type: "text" as const, text: marked }];
  return { marked: [...messages.slice(0, -1), { ...last, content: parts }], text };
}

/**
 * What was rendered up to the mark.
 *
 * @param final the last message's text
 * @throws {EngineError} `invalid_argument` where the template leaves that out, or changes it
 */
export function cutAtMark({ text, spans }: RenderedText, final: string): RenderedText {
  const at = text.lastIndexOf(MARK.trimEnd());
  if (at < 0 || !text.includes(plain(strip(final, null, "both")))) {
    const rule = "end with a text that the model's chat template leaves as it is";
    return refuse(SUBMITTING, "messages", rule, undefined);
  }
  const before = cut(new Text(text, spans), 0, at);
  const kept = text.startsWith(MARK, at) ? before : strip(before, null, "right");
  return { text: plain(kept), spans: typeof kept === "string" ? [] : kept.spans };
}

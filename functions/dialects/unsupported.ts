/**
 * Fields of other servers that change the answer there and are not served here: refused by name, never
 * ignored. They stand beside the schemas, as those who read the API's description look for what there is.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";

interface Unsupported {
  /** Holds for what asks for nothing, beside null, false and an empty text. */
  readonly unless?: (value: unknown) => boolean;
  /** The field that is served in its place. */
  readonly instead?: string;
}

/** By name. */
type UnsupportedFields = Readonly<Record<string, Unsupported>>;

const is = (...harmless: readonly unknown[]) => (value: unknown) => harmless.includes(value);
/** It looks at one key: a text of megabytes has one for each character. */
function isEmpty(value: unknown): boolean {
  if (Array.isArray(value)) return value.length === 0;
  if (typeof value !== "object" || value === null) return false;
  for (const _ in value) return false;
  return true;
}
const isTextFormat = (value: unknown) => (value as { type?: unknown }).type === "text";

/** Of both of OpenAI's routes: OpenAI's, vLLM's, SGLang's, llama.cpp's, Ollama's. */
export const UNSUPPORTED = {
  // What may come out.
  response_format: { unless: isTextFormat },
  structured_outputs: {},
  guided_json: {},
  guided_regex: {},
  guided_choice: {},
  guided_grammar: {},
  structural_tag: {},
  grammar: {},
  json_schema: {},
  regex: {},
  ebnf: {},
  format: {},
  stop_regex: { unless: isEmpty },
  bad_words: { unless: isEmpty, instead: "bad_words_token_ids" },
  allowed_token_ids: {},
  logits_processors: { unless: isEmpty },
  custom_logit_processor: {},
  vllm_xargs: { unless: isEmpty },
  custom_params: { unless: isEmpty },
  // How it is drawn.
  use_beam_search: {},
  length_penalty: { unless: is(1) },
  repeat_penalty: { unless: is(1), instead: "repetition_penalty" },
  typical_p: { unless: is(1) },
  tfs_z: { unless: is(1) },
  top_a: { unless: is(0) },
  top_n_sigma: { unless: is(-1, 0) },
  mirostat: { unless: is(0) },
  mirostat_mode: { unless: is(0) },
  dry_multiplier: { unless: is(0) },
  xtc_probability: { unless: is(0) },
  dynatemp_range: { unless: is(0) },
  samplers: { unless: isEmpty },
  thinking_token_budget: { unless: is(-1) },
  // By which model, of what prompt.
  lora: { unless: isEmpty },
  lora_path: {},
  prompt_embeds: {},
  truncate_prompt_tokens: {},
  kv_transfer_params: { unless: isEmpty },
  web_search_options: {},
  // What is told of it.
  logprob_token_ids: { unless: isEmpty },
  return_hidden_states: {},
  n_probs: { unless: is(0), instead: "logprobs" },
  // Other names.
  n_predict: { instead: "max_tokens" },
  max_new_tokens: { instead: "max_tokens" },
  no_stop_trim: { instead: "include_stop_str_in_output" },
} as const satisfies UnsupportedFields;

/** Of chat alone. */
export const UNSUPPORTED_IN_CHAT = {
  ...UNSUPPORTED,
  functions: { unless: isEmpty, instead: "tools" },
  function_call: { unless: is("none", "auto"), instead: "tool_choice" },
  modalities: { unless: (value: unknown) => JSON.stringify(value) === '["text"]' },
  audio: {},
  prediction: {},
  chat_template: {},
  echo: {},
} as const satisfies UnsupportedFields;

/** Of completions alone. */
export const UNSUPPORTED_IN_COMPLETIONS = {
  ...UNSUPPORTED,
  suffix: {},
} as const satisfies UnsupportedFields;

/** Of `/tokenize`. */
export const UNSUPPORTED_IN_TOKENIZE = { chat_template: {} } as const satisfies UnsupportedFields;

/** A body's schema, in front of which such fields are refused. */
export function refusing<T extends z.ZodObject>(fields: UnsupportedFields, schema: T) {
  return z.preprocess((body, ctx) => {
    const values = (body ?? {}) as Readonly<Record<string, unknown>>;
    for (const [name, { unless, instead }] of Object.entries(fields)) {
      const { [name]: value } = values;
      if (asksNothing(value) || unless?.(value)) continue;
      const message = `is not supported${instead === undefined ? "" : `, ${instead} is`}`;
      ctx.addIssue({ code: "custom", path: [name], input: value, message });
      break;
    }
    return body;
  }, schema);
}

function asksNothing(value: unknown): boolean {
  return value === undefined || value === null || value === false || value === "";
}

/** For the description of a body. */
export function namesOf(fields: UnsupportedFields): string {
  return `Fields that are not served and are refused where they ask for something: ${
    Object.keys(fields).join(", ")
  }`;
}

/**
 * `GET /tokenizer_info`: what a client needs to make prompts by itself (lm-eval does): special tokens and the
 * chat template, by the names of `tokenizer_config.json`. It tells of the model alone, so it has no flag, as
 * vLLM's has; where there are keys it needs one.
 *
 * @module
 */
import { createRoute, OpenAPIHono, z } from "@hono/zod-openapi";
import { engineErrors } from "./server/described_responses.ts";
import type { Env } from "./server/env.ts";
import { withEngine } from "./server/with_engine.ts";

const TokenizerInfo = z.object({
  tokenizer_class: z.string().describe("Transformers' class"),
  model_max_length: z.int().positive().describe("Prompt and output together, in tokens"),
  bos_token: z.string().nullable(),
  eos_token: z.string().nullable(),
  additional_special_tokens: z.array(z.string()).describe("Control tokens beside those two"),
  chat_template: z.string().nullable().describe("Jinja; null: the model takes no chats"),
}).openapi("TokenizerInfo");

/** Transformers opens any `tokenizer.json` with it. */
const ANY_CLASS = "PreTrainedTokenizerFast";

const route = createRoute({
  method: "get",
  path: "/tokenizer_info",
  operationId: "tokenizerInfo",
  tags: ["Tokens"],
  summary: "The tokenizer's special tokens and chat template",
  responses: {
    200: {
      description: "Of the first model",
      content: { "application/json": { schema: TokenizerInfo } },
    },
    ...engineErrors(),
  },
});

/** The function, to be mounted. */
export const tokenizerInfo = new OpenAPIHono<Env>();

tokenizerInfo.openapi(route, (c) => {
  const { model, maxModelLen } = c.var.instance.models.first.require("read");
  const { tokenizer, chatTemplate, tokenizerClass = ANY_CLASS } = model;
  const { bosToken = null, eosToken = null } = tokenizer;
  const special = new Set<string>();
  for (let token = 0; token < tokenizer.vocabSize; token++) {
    if (tokenizer.isSpecial(token)) special.add(tokenizer.tokenText(token)!);
  }
  return c.json({
    tokenizer_class: tokenizerClass,
    model_max_length: maxModelLen,
    bos_token: bosToken,
    eos_token: eosToken,
    additional_special_tokens: [...special].filter((text) =>
      text !== bosToken && text !== eosToken
    ),
    chat_template: chatTemplate?.source ?? null,
  }, 200);
});

export default withEngine(tokenizerInfo);

import assert from "node:assert/strict";
import { z } from "@hono/zod-openapi";
import { refusalOf } from "../../functions/dialects/http_error.ts";
import { requestFields, toRequest } from "../../functions/dialects/request_fields.ts";
import { EngineError } from "../../engine/types.ts";

const Body = z.strictObject(requestFields);

Deno.test("toRequest() has what the wire says under the engine's names", () => {
  const body = {
    n: 2,
    temperature: 0.5,
    top_p: 0.9,
    top_k: 40,
    min_p: 0.1,
    repetition_penalty: 1.1,
    presence_penalty: 0.2,
    frequency_penalty: 0.3,
    seed: -1,
    stop: "end",
    include_stop_str_in_output: true,
    stop_token_ids: [7],
    ignore_eos: true,
    min_tokens: 1,
    logit_bias: { 5: -100 },
    bad_words_token_ids: [[1, 2]],
    prompt_logprobs: 0,
    skip_special_tokens: false,
    priority: -1,
    deadline_ms: 1000,
    cache_salt: "s",
  };
  assert.deepEqual(toRequest(Body.parse(body)), {
    n: 2,
    temperature: 0.5,
    topP: 0.9,
    topK: 40,
    minP: 0.1,
    repetitionPenalty: 1.1,
    presencePenalty: 0.2,
    frequencyPenalty: 0.3,
    seed: -1,
    stop: ["end"],
    includeStop: true,
    stopTokenIds: [7],
    ignoreEos: true,
    minTokens: 1,
    logitBias: new Map([[5, -100]]),
    badWords: [[1, 2]],
    promptLogprobs: 0,
    skipSpecialTokens: false,
    priority: -1,
    deadlineMs: 1000,
    salt: "s",
  });
});

Deno.test("toRequest() takes null for absent, and vLLM's -1 for off", () => {
  const nothing = Object.fromEntries(Object.keys(requestFields).map((name) => [name, null]));
  assert.deepEqual(toRequest(Body.parse(nothing)), {});
  assert.deepEqual(toRequest(Body.parse({ top_k: -1, stop: ["a", "b"] })), {
    topK: 0,
    stop: ["a", "b"],
  });
});

Deno.test("refusalOf() calls a field as the wire does", () => {
  for (
    const [field, param] of [["salt", "cache_salt"], ["badWords", "bad_words_token_ids"], [
      "maxTokens",
      "max_tokens",
    ]] as const
  ) {
    const error = new EngineError("invalid_argument", "", { field, rule: "be other" });
    assert.equal(refusalOf(error)?.param, param);
  }
});

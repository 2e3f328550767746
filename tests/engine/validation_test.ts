import assert from "node:assert/strict";
import type { EngineStats, GenerateRequest } from "../../engine/types.ts";
import type { Model } from "../../model/spec.ts";
import { checkPrompt, limitsOf, resolveRequest } from "../../engine/validation.ts";

const limits = { vocabSize: 100, maxModelLen: 32, maxNumSeqs: 16, eosTokenIds: [2, 7] };

const idsTo = (count: number) => Array.from({ length: count }, (_, i) => i);

/** Field, what the message says is allowed, values that are not. */
const refused: [keyof GenerateRequest, RegExp, unknown[]][] = [
  ["temperature", />= 0 and <= 2: current value is/, [NaN, -1, -0.001, 2.001, Infinity]],
  ["topP", />= 0 and <= 1/, [NaN, -0.5, 1.001]],
  ["topK", /an integer >= 0/, [-1, 1.5, NaN, 2 ** 32]],
  ["minP", />= 0 and <= 1/, [-0.1, 1.1, NaN]],
  ["repetitionPenalty", /must be > 0/, [0, -1, NaN, Infinity]],
  ["presencePenalty", />= -2 and <= 2/, [-2.1, 2.1, NaN]],
  ["frequencyPenalty", />= -2 and <= 2/, [-2.1, 2.1, NaN]],
  ["maxTokens", /an integer >= 1 /, [0, -1, 1.5, 2 ** 32, NaN]],
  ["minTokens", /an integer >= 0 and <= 32/, [-1, 1.5, 33]],
  ["n", /an integer >= 1 and <= 16/, [0, -1, 1.5, 17, 129]],
  ["logprobs", /an integer >= 0 and <= 20/, [-1, 1.5, 21]],
  ["promptLogprobs", /an integer >= 0 and <= 20/, [-1, 1.5, 21]],
  ["priority", /an integer >= -1000 and <= 1000/, [-1001, 1001, 0.5]],
  ["deadlineMs", /an integer >= 1/, [0, -1, 0.5, 2 ** 32]],
  ["seed", /an integer of at most 64 bits/, [0.5, NaN, 2 ** 53, 2n ** 64n, -(2n ** 63n) - 1n]],
  ["stop", /at most 16 texts: current value is 17 texts/, [new Array(17).fill("x")]],
  ["stop", /no empty text/, [["x", ""]]],
  ["stop", /texts of at most 1024 characters: current value is a text of 1025 c/, [[
    "x".repeat(1025),
  ]]],
  ["stopTokenIds", /at most 1024 ids, the model's included: current value is 1025/, [idsTo(1025)]],
  ["badWords", /at most 16384 ids in all words together: current value is 16385/, [
    [idsTo(16_000), idsTo(385)],
  ]],
  ["logitBias", /at most 16384 tokens: current value is 16385/, [
    new Map(idsTo(16_385).map((token) => [token, 1])),
  ]],
  ["tools", /be absent, as there are no messages: current value is \[{}\]/, [[{}]]],
  ["addGenerationPrompt", /be absent, as there are no messages/, [true, false]],
  ["stopTokenIds", /token ids from 0 to 99: current value is/, [[100], [-1], [1.5]]],
  ["badWords", /an empty word/, [[[1], []]]],
  ["badWords", /token ids from 0 to 99/, [[[1.5]], [[1, 100]]]],
  ["logitBias", /token ids from 0 to 99/, [new Map([[100, 1]])]],
  ["logitBias", />= -100 and <= 100/, [new Map([[1, 100.5]]), new Map([[1, NaN]])]],
];

for (const [field, message, values] of refused) {
  for (const value of values) {
    const name = Deno.inspect(value, { iterableLimit: 4 });
    Deno.test(`resolveRequest() refuses ${field} ${name}`, () => {
      const request = { prompt: "x", [field]: value } as GenerateRequest;
      assert.throws(() => resolveRequest(request, limits), {
        name: "EngineError",
        code: "invalid_argument",
        field,
        message,
      });
      assert.throws(() => resolveRequest(request, limits), /^EngineError: Cannot submit request: /);
    });
  }
}

Deno.test("resolveRequest() tells rule and value beside the sentence", () => {
  assert.throws(() => resolveRequest({ prompt: "x", temperature: 3 }, limits), {
    code: "invalid_argument",
    field: "temperature",
    rule: "be >= 0 and <= 2",
    value: "3",
    message: "Cannot submit request: temperature must be >= 0 and <= 2: current value is 3",
  });
});

Deno.test("resolveRequest() takes lists as long as the library does", () => {
  const large = { ...limits, vocabSize: 32_000 };
  const resolved = resolveRequest({
    prompt: "x",
    stopTokenIds: idsTo(1024), // the model's two among them
    badWords: [idsTo(16_384)],
    logitBias: new Map(idsTo(16_384).map((token) => [token, 1])),
  }, large);
  assert.equal(resolved.stopIds.length, 1024);
  const beside = Array.from({ length: 1023 }, (_, i) => i + 10);
  assert.throws(() => resolveRequest({ prompt: "x", stopTokenIds: beside }, large), {
    field: "stopTokenIds",
    value: "1025",
  });
});

Deno.test("resolveRequest() takes every bound itself", () => {
  const low: GenerateRequest = {
    tokens: [1],
    temperature: 0,
    topP: 0,
    topK: 0,
    minP: 0,
    repetitionPenalty: 1e-9,
    presencePenalty: -2,
    frequencyPenalty: -2,
    maxTokens: 1,
    minTokens: 0,
    n: 1,
    logprobs: 0,
    promptLogprobs: 0,
    priority: -1000,
    deadlineMs: 1,
    seed: 0,
    logitBias: new Map([[0, -100]]),
  };
  const high: GenerateRequest = {
    tokens: [99],
    temperature: 2,
    topP: 1,
    topK: 2 ** 32 - 1,
    minP: 1,
    repetitionPenalty: 1e9,
    presencePenalty: 2,
    frequencyPenalty: 2,
    maxTokens: 32,
    minTokens: 32,
    n: 16,
    logprobs: 20,
    promptLogprobs: 20,
    priority: 1000,
    deadlineMs: 2 ** 32 - 1,
    seed: 2n ** 64n - 1n,
    logitBias: new Map([[99, 100]]),
    stop: new Array(16).fill("x".repeat(1024)),
  };
  assert.equal(resolveRequest(low, limits).seed, 0n);
  assert.equal(resolveRequest(high, limits).seed, 2n ** 64n - 1n);
});

Deno.test("resolveRequest() draws a seed for one below 0, as for none", () => {
  const seeds = [{}, { seed: -1 }, { seed: -7 }, { seed: -(2n ** 63n) }].flatMap((field) =>
    [1, 2].map(() => resolveRequest({ prompt: "x", ...field }, limits).seed)
  );
  assert.equal(new Set(seeds).size, seeds.length);
});

Deno.test("resolveRequest() is greedy where the nucleus is empty", () => {
  const { topP, temperature } = resolveRequest({ prompt: "x", topP: 0, temperature: 2 }, limits);
  assert.deepEqual([topP, temperature], [1, 0], "the library takes no top_p of 0");
});

Deno.test("resolveRequest() asks for exactly one of prompt, tokens and messages", () => {
  const message = /must be the only one of prompt, tokens and messages: current value is/;
  assert.throws(() => resolveRequest({}, limits), { field: "prompt", message });
  assert.throws(() => resolveRequest({ prompt: "x", tokens: [1] }, limits), {
    field: "tokens",
    message: /prompt and tokens$/,
  });
  const all = { prompt: "x", tokens: [1], messages: [{ role: "user", content: "x" }] };
  assert.throws(() => resolveRequest(all, limits), { message });
});

for (const request of [{ prompt: "" }, { tokens: [] }, { messages: [] }]) {
  const [field] = Object.keys(request);
  Deno.test(`resolveRequest() refuses empty ${field}`, () => {
    assert.throws(() => resolveRequest(request, limits), {
      field,
      message: `Cannot submit request: ${field} must not be empty: current value is empty`,
    });
  });
}

Deno.test("resolveRequest() allows no output only with prompt logprobs", () => {
  assert.throws(() => resolveRequest({ prompt: "x", maxTokens: 0 }, limits), {
    field: "maxTokens",
  });
  assert.equal(
    resolveRequest({ prompt: "x", maxTokens: 0, promptLogprobs: 0 }, limits).maxTokens,
    0,
  );
});

Deno.test("resolveRequest() ends at the model's end of text unless told otherwise", () => {
  const stopIds = (request: GenerateRequest) =>
    resolveRequest({ prompt: "x", ...request }, limits).stopIds;
  assert.deepEqual(stopIds({}), [2, 7]);
  assert.deepEqual(stopIds({ stopTokenIds: [7, 9] }), [2, 7, 9]);
  assert.deepEqual(stopIds({ ignoreEos: true, stopTokenIds: [9] }), [9]);
});

Deno.test("resolveRequest() gives equal salts equal bits", () => {
  const saltOf = (salt?: string) =>
    resolveRequest({ prompt: "x", ...salt !== undefined && { salt } }, limits).salt;
  assert.deepEqual(saltOf("a"), saltOf("a"));
  assert.deepEqual(saltOf(), saltOf(""));
  assert.notDeepEqual(saltOf("a"), saltOf("b"));
  assert.ok(saltOf("a").every((bits) => bits >= 0n && bits < 2n ** 64n));
});

Deno.test("checkPrompt() refuses a prompt that is too long, with both numbers", () => {
  checkPrompt(new Array(31).fill(1), { prompt: "x" }, limits);
  assert.throws(() => checkPrompt(new Array(32).fill(1), { prompt: "x" }, limits), {
    code: "context_length_exceeded",
    field: "prompt",
    message: "Cannot submit request: prompt must leave room for 1 output token, as this model's " +
      "maximum context length is 32 tokens: current value is 32 tokens",
  });
});

Deno.test("checkPrompt() lets prompt logprobs alone have the whole length", () => {
  const request = { tokens: new Array(32).fill(1), maxTokens: 0, promptLogprobs: 0 };
  checkPrompt(request.tokens, request, limits);
  assert.throws(() => checkPrompt([...request.tokens, 1], request, limits), {
    code: "context_length_exceeded",
    rule: "have at most 32 tokens, as this model's maximum context length is 32 tokens",
  });
});

Deno.test("checkPrompt() refuses a prompt and maxTokens that do not fit together", () => {
  const tokens = new Array(20).fill(1);
  checkPrompt(tokens, { tokens, maxTokens: 12 }, limits);
  checkPrompt(tokens, { tokens }, limits);
  for (const maxTokens of [13, 33]) {
    assert.throws(() => checkPrompt(tokens, { tokens, maxTokens }, limits), {
      code: "context_length_exceeded",
      field: "maxTokens",
      rule: "be at most the 12 that a prompt of 20 tokens leaves, as this model's maximum " +
        "context length is 32 tokens",
      value: String(maxTokens),
    });
  }
});

Deno.test("checkPrompt() refuses ids out of the vocabulary", () => {
  for (const token of [-1, 100, 1.5, NaN]) {
    assert.throws(() => checkPrompt([1, token], { tokens: [1, token] }, limits), {
      code: "invalid_argument",
      field: "tokens",
      message:
        `Cannot submit request: tokens must hold token ids from 0 to 99: current value is ${token}`,
    });
  }
});

Deno.test("limitsOf() leaves out what ends a text and is not in the vocabulary", () => {
  const model = { spec: { vocabSize: 100 }, eosTokenIds: [2, 99, 100, 101] } as unknown as Model;
  const stats = { maxModelLen: 32, maxNumSeqs: 16 } as EngineStats;
  assert.deepEqual(limitsOf(model, stats), { ...limits, eosTokenIds: [2, 99] });
});

Deno.test("resolveRequest() completes a request with its defaults", () => {
  const { seed, salt, ...rest } = resolveRequest({ prompt: "x" }, limits);
  assert.ok(seed >= 0n && seed < 2n ** 64n);
  // The first 128 bits of SHA-256 of nothing.
  assert.deepEqual(salt, [0x141cfc9842c4b0e3n, 0x24b96f99c8f4fb9an]);
  assert.deepEqual(rest, {
    maxTokens: 32,
    minTokens: 0,
    temperature: 1,
    topP: 1,
    topK: 0,
    minP: 0,
    repetitionPenalty: 1,
    presencePenalty: 0,
    frequencyPenalty: 0,
    n: 1,
    logprobs: -1,
    promptLogprobs: -1,
    priority: 0,
    deadlineMs: 0,
    skipReadingPrefixCache: false,
    caller: 0n,
    callerWeight: 1,
    stopIds: [2, 7],
    logitBias: new Map(),
    badWords: [],
  });
});

Deno.test("resolveRequest() names the field that belongs to messages, and shows a part of it", () => {
  const long = { a: "x".repeat(100) };
  const conversation: readonly (readonly [name: keyof GenerateRequest, value: unknown])[] = [
    ["tools", [long]],
    ["documents", [long]],
    ["chatTemplateKwargs", long],
    ["addGenerationPrompt", true],
    ["continueFinalMessage", false],
  ];
  for (const [field, value] of conversation) {
    assert.throws(() => resolveRequest({ prompt: "x", [field]: value }, limits), {
      field,
      rule: "be absent, as there are no messages",
      value: JSON.stringify(value).slice(0, 80),
    });
    resolveRequest({ messages: [{ role: "user", content: "x" }], [field]: value }, limits);
  }
});

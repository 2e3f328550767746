/**
 * The fields of a request beside its prompt.
 *
 * @module
 */
import { entry } from "./field.ts";
import { maxCallerWeight, maxLogprobs, maxSequences } from "./structs.ts";

/** See {@linkcode SamplingParameters}. Engines and requests may narrow bounds (`engine/validation.ts`). */
export const SAMPLING_FIELDS = {
  maxTokens: entry(
    { kind: "integer", min: 0, shown: "what the prompt leaves", wire: null },
    "Output tokens at most; at least 1, or 0 with `promptLogprobs`. More than the prompt leaves " +
      "of `maxModelLen` is an error, not cut",
  ),
  minTokens: entry(
    { kind: "integer", min: 0, default: 0 },
    "Stop tokens cannot be chosen before this many tokens",
  ),
  temperature: entry({ kind: "number", min: 0, max: 2, default: 1 }, "0 is greedy"),
  topP: entry(
    { kind: "number", min: 0, max: 1, default: 1 },
    "Nucleus: the smallest set whose probability reaches this; 0 is greedy",
  ),
  // -1 is off too where vLLM's clients write it.
  topK: entry(
    { kind: "integer", min: 0, default: 0, wire: { min: -1 } },
    "Only the k most likely; 0 is off",
  ),
  minP: entry(
    { kind: "number", min: 0, max: 1, default: 0 },
    "Only tokens at least this fraction as likely as the best",
  ),
  repetitionPenalty: entry(
    { kind: "number", above: 0, default: 1, wire: { max: 100 } },
    "Over prompt and output, as Transformers; 1 is off",
  ),
  presencePenalty: entry(
    { kind: "number", min: -2, max: 2, default: 0 },
    "Once for every token that the output has",
  ),
  frequencyPenalty: entry(
    { kind: "number", min: -2, max: 2, default: 0 },
    "For every occurrence in the output",
  ),
  // In C a bigint, and whether there is one.
  seed: entry(
    { kind: "seed", shown: "random", inC: null },
    "The same seed gives the same text, whatever else runs; up to 64 bits, below 0 is random",
  ),
  stop: entry(
    { kind: "texts", shown: "none", inC: null },
    "Texts that end a sequence; at most 16, of at most 1,024 characters each",
  ),
  includeStop: entry({
    kind: "switch",
    default: false,
    inC: null,
    wire: { name: "include_stop_str_in_output" },
  }, "Keep the stop text in the output"),
  // In C a list, with the model's own ids.
  stopTokenIds: entry(
    { kind: "tokens", shown: "none", inC: null },
    "Token ids that end a sequence, beside the model's own",
  ),
  ignoreEos: entry(
    { kind: "switch", default: false, inC: null },
    "Go on past the model's end-of-text tokens",
  ),
  logitBias: entry(
    { kind: "biases", min: -100, max: 100, shown: "none", inC: null },
    "Added to a token's logit; -100 bans it",
  ),
  badWords: entry({
    kind: "words",
    shown: "none",
    inC: null,
    wire: { name: "bad_words_token_ids" },
  }, "Token sequences that may not appear"),
  n: entry(
    { kind: "integer", min: 1, max: maxSequences, default: 1, inC: "num_sequences" },
    "Continuations of the one prompt",
  ),
  logprobs: entry({
    kind: "integer",
    min: 0,
    max: maxLogprobs,
    default: -1,
    shown: "none",
    wire: null,
  }, "Log probabilities of the chosen token and of this many of the likeliest"),
  promptLogprobs: entry(
    { kind: "integer", min: 0, max: maxLogprobs, default: -1, shown: "none" },
    "As `logprobs`, for the prompt's own tokens",
  ),
  skipSpecialTokens: entry(
    { kind: "switch", default: true, inC: null },
    "Leave control tokens out of the text",
  ),
};

/** Those of {@linkcode GenerateRequest} that are about a request as a whole. */
export const WHOLE_REQUEST_FIELDS = {
  addSpecialTokens: entry({
    kind: "switch",
    default: true,
    shown: "true; messages: false, as templates have them",
    inC: null,
  }, "Add BOS and the like to what is encoded"),
  priority: entry(
    { kind: "integer", min: -1000, max: 1000, default: 0 },
    "Among those of its caller 0 goes first, then 1, and so on; then the order of arrival. " +
      "A server takes those below 0 only if it was told to",
  ),
  deadlineMs: entry({
    kind: "integer",
    min: 1,
    default: 0,
    shown: "none",
    wire: { max: 0x7fff_ffff },
  }, "Milliseconds from now until the last token; refused at once where it cannot be met"),
  skipReadingPrefixCache: entry(
    { kind: "switch", default: false },
    "Compute the whole prompt, though blocks of it are warm",
  ),
  // In C 64 bits of its digest. A server says who calls; a request cannot.
  caller: entry(
    { kind: "text", shown: '""', inC: null, wire: null },
    "Whose it is: callers who wait have turns, by the tokens that were computed for them",
  ),
  callerWeight: entry(
    { kind: "integer", min: 1, max: maxCallerWeight, default: 1, wire: null },
    "A caller of weight 2 gets twice as many",
  ),
  // In C 128 bits of its digest.
  salt: entry(
    { kind: "text", shown: '""', inC: null, wire: { name: "cache_salt" } },
    "Requests share warm prompt blocks only under the same salt",
  ),
};

/** All of them. */
export const REQUEST_FIELDS = { ...SAMPLING_FIELDS, ...WHOLE_REQUEST_FIELDS };

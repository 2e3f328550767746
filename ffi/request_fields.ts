/**
 * The fields of a request beside its prompt.
 *
 * @module
 */
import type { Fields } from "./field.ts";
import { maxLogprobs, maxSequences } from "./structs.ts";

/** See {@linkcode SamplingParameters}. Engines and requests may narrow bounds (`engine/validation.ts`). */
export const SAMPLING_FIELDS = {
  maxTokens: {
    kind: "integer",
    min: 0,
    doc:
      "Output tokens at most; at least 1, or 0 with `promptLogprobs`. More than the prompt leaves " +
      "of `maxModelLen` is an error, not cut",
    shown: "what the prompt leaves",
    wire: null,
  },
  minTokens: {
    kind: "integer",
    min: 0,
    doc: "Stop tokens cannot be chosen before this many tokens",
    default: 0,
  },
  temperature: { kind: "number", min: 0, max: 2, doc: "0 is greedy", default: 1 },
  topP: {
    kind: "number",
    above: 0,
    max: 1,
    doc: "Nucleus: the smallest set whose probability reaches this",
    default: 1,
  },
  topK: {
    kind: "integer",
    min: 0,
    doc: "Only the k most likely; 0 is off",
    default: 0,
    wire: { min: -1 }, // off too, for clients of vLLM
  },
  minP: {
    kind: "number",
    min: 0,
    max: 1,
    doc: "Only tokens at least this fraction as likely as the best",
    default: 0,
  },
  repetitionPenalty: {
    kind: "number",
    above: 0,
    doc: "Over prompt and output, as Transformers; 1 is off",
    default: 1,
    wire: { max: 100 },
  },
  presencePenalty: {
    kind: "number",
    min: -2,
    max: 2,
    doc: "Once for every token that the output has",
    default: 0,
  },
  frequencyPenalty: {
    kind: "number",
    min: -2,
    max: 2,
    doc: "For every occurrence in the output",
    default: 0,
  },
  seed: {
    kind: "seed",
    doc: "The same seed gives the same text, whatever else runs",
    shown: "random",
    inC: null, // a bigint, and whether there is one
  },
  stop: {
    kind: "texts",
    doc: "Texts that end a sequence; at most 16",
    shown: "none",
    inC: null,
  },
  includeStop: {
    kind: "switch",
    doc: "Keep the stop text in the output",
    default: false,
    inC: null,
    wire: { name: "include_stop_str_in_output" },
  },
  stopTokenIds: {
    kind: "tokens",
    doc: "Token ids that end a sequence, beside the model's own",
    shown: "none",
    inC: null, // with the model's own
  },
  ignoreEos: {
    kind: "switch",
    doc: "Go on past the model's end-of-text tokens",
    default: false,
    inC: null,
  },
  logitBias: {
    kind: "biases",
    min: -100,
    max: 100,
    doc: "Added to a token's logit; -100 bans it",
    shown: "none",
    inC: null,
  },
  badWords: {
    kind: "words",
    doc: "Token sequences that may not appear",
    shown: "none",
    inC: null,
    wire: { name: "bad_words_token_ids" },
  },
  n: {
    kind: "integer",
    min: 1,
    max: maxSequences,
    doc: "Continuations of the one prompt",
    default: 1,
    inC: "num_sequences",
  },
  logprobs: {
    kind: "integer",
    min: 0,
    max: maxLogprobs,
    doc: "Log probabilities of the chosen token and of this many of the likeliest",
    default: -1,
    shown: "none",
    wire: null,
  },
  promptLogprobs: {
    kind: "integer",
    min: 0,
    max: maxLogprobs,
    doc: "As `logprobs`, for the prompt's own tokens",
    default: -1,
    shown: "none",
  },
  skipSpecialTokens: {
    kind: "switch",
    doc: "Leave control tokens out of the text",
    default: true,
    inC: null,
  },
} as const satisfies Fields;

/** Those of {@linkcode GenerateRequest} that are about a request as a whole. */
export const WHOLE_REQUEST_FIELDS = {
  addSpecialTokens: {
    kind: "switch",
    doc: "Add BOS and the like to `prompt`",
    default: true,
    shown: "true; messages: the template decides",
    inC: null,
    wire: null,
  },
  priority: {
    kind: "integer",
    min: -1000,
    max: 1000,
    doc: "0 goes first, then 1, and so on; then the order of arrival",
    default: 0,
  },
  deadlineMs: {
    kind: "integer",
    min: 1,
    doc: "Milliseconds from now until the last token; refused at once where it cannot be met",
    default: 0,
    shown: "none",
    wire: { max: 0x7fff_ffff },
  },
  salt: {
    kind: "text",
    doc: "Requests share warm prompt blocks only under the same salt",
    shown: '""',
    inC: null, // 128 bits of its digest
    wire: { name: "cache_salt" },
  },
} as const satisfies Fields;

/** All of them. */
export const REQUEST_FIELDS = { ...SAMPLING_FIELDS, ...WHOLE_REQUEST_FIELDS };

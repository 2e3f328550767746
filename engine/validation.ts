/**
 * Requests as callers write them, checked field by field and completed with defaults.
 *
 * @module
 */
import type { NativeRequest } from "../ffi/native_engine.ts";
import {
  maxBadWordIds,
  maxLogitBiases,
  maxLogprobs,
  maxSequences,
  maxStopIds,
} from "../ffi/structs.ts";
import type { Model } from "../model/spec.ts";
import { refuse as refuseField, SUBMITTING } from "./refuse.ts";
import { saltBits } from "./salt.ts";
import type { EngineErrorCode, EngineStats, GenerateRequest } from "./types.ts";

/** What the model and the engine allow. */
export interface Limits {
  readonly vocabSize: number;
  /** Prompt and output together, in tokens. */
  readonly maxModelLen: number;
  /** Sequences that run at a time: those of one request at most. */
  readonly maxNumSeqs: number;
  /** Ids that end a text, those that the vocabulary has. */
  readonly eosTokenIds: readonly number[];
}

/** The limits of an open engine. */
export function limitsOf(model: Model, stats: EngineStats): Limits {
  const { vocabSize } = model.spec;
  const { maxModelLen, maxNumSeqs } = stats;
  const eosTokenIds = model.eosTokenIds.filter((token) => token < vocabSize);
  return { vocabSize, maxModelLen, maxNumSeqs, eosTokenIds };
}

const MAX_STOPS = 16;
const MAX_UINT32 = 0xffff_ffff;

interface Range {
  readonly min?: number;
  readonly above?: number;
  readonly max?: number;
  readonly integer?: boolean;
}

type NumberField = {
  [K in keyof GenerateRequest]-?: Exclude<GenerateRequest[K], undefined> extends number ? K : never;
}[keyof GenerateRequest];

const RANGES: Readonly<Record<Exclude<NumberField, "maxTokens" | "minTokens" | "n">, Range>> = {
  temperature: { min: 0, max: 2 },
  topP: { above: 0, max: 1 },
  topK: { min: 0, max: MAX_UINT32, integer: true },
  minP: { min: 0, max: 1 },
  repetitionPenalty: { above: 0 },
  presencePenalty: { min: -2, max: 2 },
  frequencyPenalty: { min: -2, max: 2 },
  logprobs: { min: 0, max: maxLogprobs, integer: true },
  promptLogprobs: { min: 0, max: maxLogprobs, integer: true },
  priority: { min: -1000, max: 1000, integer: true },
  deadlineMs: { min: 1, max: MAX_UINT32, integer: true },
};

/**
 * The request for the library.
 *
 * @throws {EngineError} `invalid_argument` with the field in `field`
 */
export function resolveRequest(request: GenerateRequest, limits: Limits): NativeRequest {
  for (const [field, range] of Object.entries(RANGES)) {
    const value = request[field as NumberField];
    if (value !== undefined) checkNumber(field, value, range);
  }
  const n = request.n ?? 1;
  checkNumber("n", n, { min: 1, max: Math.min(maxSequences, limits.maxNumSeqs), integer: true });
  checkSource(request);
  checkStops(request.stop ?? []);
  const stopIds = stopIdsOf(request, limits);
  checkListLengths(request, stopIds);
  checkTokens("stopTokenIds", request.stopTokenIds ?? [], limits);
  for (const word of request.badWords ?? []) {
    if (word.length === 0) refuse("badWords", "hold token ids in every word", "an empty word");
    checkTokens("badWords", word, limits);
  }
  for (const [token, bias] of request.logitBias ?? []) {
    checkTokens("logitBias", [token], limits);
    checkNumber("logitBias", bias, { min: -100, max: 100 });
  }
  const maxTokens = request.maxTokens ?? limits.maxModelLen;
  checkNumber("maxTokens", maxTokens, {
    min: request.promptLogprobs === undefined ? 1 : 0,
    max: limits.maxModelLen,
    integer: true,
  });
  const minTokens = request.minTokens ?? 0;
  checkNumber("minTokens", minTokens, { min: 0, max: maxTokens, integer: true });
  return {
    numSequences: n,
    maxTokens,
    minTokens,
    temperature: request.temperature ?? 1,
    topP: request.topP ?? 1,
    minP: request.minP ?? 0,
    topK: request.topK ?? 0,
    repetitionPenalty: request.repetitionPenalty ?? 1,
    presencePenalty: request.presencePenalty ?? 0,
    frequencyPenalty: request.frequencyPenalty ?? 0,
    logprobs: request.logprobs ?? -1,
    promptLogprobs: request.promptLogprobs ?? -1,
    priority: request.priority ?? 0,
    seed: request.seed === undefined ? drawSeed() : seedBits(request.seed),
    deadlineMs: request.deadlineMs ?? 0,
    salt: saltBits(request.salt ?? ""),
    stopIds,
    logitBias: request.logitBias ?? new Map(),
    badWords: request.badWords ?? [],
  };
}

/** The model's and the request's, each once. */
function stopIdsOf(request: GenerateRequest, limits: Limits): number[] {
  const own = request.ignoreEos ?? false ? [] : limits.eosTokenIds;
  return [...new Set([...own, ...request.stopTokenIds ?? []])];
}

/** The library's own bounds, before ids are checked one by one. */
function checkListLengths(request: GenerateRequest, stopIds: readonly number[]): void {
  const numBiases = request.logitBias?.size ?? 0;
  const numBadWordIds = (request.badWords ?? []).reduce((sum, { length }) => sum + length, 0);
  if (stopIds.length > maxStopIds) {
    refuse("stopTokenIds", `hold at most ${maxStopIds} ids, the model's included`, stopIds.length);
  }
  if (numBiases > maxLogitBiases) {
    refuse("logitBias", `hold at most ${maxLogitBiases} tokens`, numBiases);
  }
  if (numBadWordIds > maxBadWordIds) {
    refuse("badWords", `hold at most ${maxBadWordIds} ids in all words together`, numBadWordIds);
  }
}

/**
 * Checks a prompt's tokens, once they are known. Nothing is cut in silence: a prompt that leaves no
 * room for what `maxTokens` asks is refused, and only where that is absent the output takes what is
 * left.
 *
 * @throws {EngineError} `invalid_argument` or `context_length_exceeded`
 */
export function checkPrompt(
  tokens: readonly number[],
  request: GenerateRequest,
  limits: Limits,
): void {
  const field = sourceField(request);
  if (tokens.length === 0) refuse(field, "hold at least one token", "none");
  if (request.tokens !== undefined) checkTokens("tokens", tokens, limits);
  const { maxTokens = 1 } = request;
  const { maxModelLen } = limits;
  const room = maxModelLen - tokens.length;
  if (room < Math.min(maxTokens, 1)) {
    const rule = maxTokens === 0
      ? `fit the model's length of ${maxModelLen} tokens`
      : `leave room for 1 output token within the model's length of ${maxModelLen} tokens`;
    refuse(field, rule, `${tokens.length} tokens`, "context_length_exceeded");
  }
  if (room < maxTokens) {
    const rule = `be at most the ${room} that a prompt of ${tokens.length} tokens leaves of the ` +
      `model's length of ${maxModelLen}`;
    refuse("maxTokens", rule, maxTokens, "context_length_exceeded");
  }
}

type SourceField = "prompt" | "tokens" | "messages";

/** Which of the three the request gives. */
export function sourceField(request: GenerateRequest): SourceField {
  if (request.prompt !== undefined) return "prompt";
  return request.tokens !== undefined ? "tokens" : "messages";
}

function checkSource(request: GenerateRequest): void {
  const fields: readonly SourceField[] = ["prompt", "tokens", "messages"];
  const given = fields.filter((field) => request[field] !== undefined);
  if (given.length !== 1) {
    const found = given.length === 0 ? "none" : given.join(" and ");
    refuse(given[1] ?? "prompt", "be the only one of prompt, tokens and messages", found);
  }
  const field = given[0]!;
  if (request[field]!.length === 0) refuse(field, "not be empty", "empty");
}

function checkStops(stops: readonly string[]): void {
  if (stops.length > MAX_STOPS) {
    refuse("stop", `hold at most ${MAX_STOPS} texts`, `${stops.length} texts`);
  }
  if (stops.some((stop) => stop === "")) refuse("stop", "hold no empty text", '""');
}

export function checkTokens(field: string, tokens: readonly number[], limits: Limits): void {
  const last = limits.vocabSize - 1;
  for (const token of tokens) {
    if (!Number.isInteger(token) || token < 0 || token > last) {
      refuse(field, `hold token ids from 0 to ${last}`, token);
    }
  }
}

function checkNumber(field: string, value: number, range: Range): void {
  const { min = -Infinity, above = -Infinity, max = Infinity, integer = false } = range;
  const right = Number.isFinite(value) && value >= min && value > above && value <= max &&
    (!integer || Number.isInteger(value));
  if (right) return;
  const bounds = [
    ...range.min === undefined ? [] : [`>= ${min}`],
    ...range.above === undefined ? [] : [`> ${above}`],
    ...range.max === undefined ? [] : [`<= ${max}`],
  ];
  refuse(field, `be ${integer ? "an integer " : ""}${bounds.join(" and ")}`, value);
}

function drawSeed(): bigint {
  return crypto.getRandomValues(new BigUint64Array(1))[0]!;
}

/** Negative seeds are taken as their 64 bits, as other servers do. */
function seedBits(seed: number | bigint): bigint {
  const valid = typeof seed === "bigint"
    ? seed >= -(2n ** 63n) && seed < 2n ** 64n
    : Number.isSafeInteger(seed);
  if (!valid) refuse("seed", "be an integer of at most 64 bits", seed);
  return BigInt.asUintN(64, BigInt(seed));
}

function refuse(
  field: string,
  rule: string,
  found: number | bigint | string,
  code?: EngineErrorCode,
): never {
  return refuseField(SUBMITTING, field, rule, found, code);
}

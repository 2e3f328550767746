/**
 * Requests as callers write them, checked field by field and completed with defaults.
 *
 * @module
 */
import type { Bounds, Field } from "../ffi/field.ts";
import type { NativeRequest } from "../ffi/native_engine.ts";
import { REQUEST_FIELDS } from "../ffi/request_fields.ts";
import { maxBadWordIds, maxLogitBiases, maxStopIds } from "../ffi/structs.ts";
import type { Model } from "../model/spec.ts";
import { CONVERSATION_FIELDS } from "./conversation/fields.ts";
import { checkField, contextRule, refuse as refuseField, SUBMITTING } from "./refuse.ts";
import { callerBits, saltBits } from "./salt.ts";
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

const MAX_STOPS = 16, MAX_STOP_LENGTH = 1024;
/**
 * The request for the library.
 *
 * @throws {EngineError} `invalid_argument` with the field in `field`
 */
export function resolveRequest(request: GenerateRequest, limits: Limits): NativeRequest {
  const { promptLogprobs, maxTokens = limits.maxModelLen } = request;
  const narrower: Readonly<Record<string, Bounds>> = {
    n: { max: Math.min(REQUEST_FIELDS.n.max, limits.maxNumSeqs) },
    maxTokens: { min: promptLogprobs === undefined ? 1 : 0 },
    minTokens: { max: maxTokens },
  };
  const scalars: Record<string, unknown> = {};
  for (const [name, field] of Object.entries<Field>(REQUEST_FIELDS)) {
    const value = request[name as keyof typeof REQUEST_FIELDS];
    checkField(SUBMITTING, name, { ...field, ...narrower[name] }, value);
    if (field.inC !== null) scalars[name] = value ?? field.default;
  }
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
    checkField(SUBMITTING, "logitBias", { ...REQUEST_FIELDS.logitBias, kind: "number" }, bias);
  }
  return {
    ...scalars as unknown as NativeRequest,
    // The set that reaches 0 is the likeliest token.
    ...(request.topP === 0 && { topP: 1, temperature: 0 }),
    maxTokens,
    seed: seedOf(request),
    caller: callerBits(request.caller ?? ""),
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
      ? `have at most ${maxModelLen} tokens`
      : "leave room for 1 output token";
    const found = `${tokens.length} tokens`;
    refuse(field, contextRule(rule, maxModelLen), found, "context_length_exceeded");
  }
  if (room < maxTokens) {
    const rule = `be at most the ${room} that a prompt of ${tokens.length} tokens leaves`;
    refuse("maxTokens", contextRule(rule, maxModelLen), maxTokens, "context_length_exceeded");
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
  for (const name of Object.keys(CONVERSATION_FIELDS) as (keyof typeof CONVERSATION_FIELDS)[]) {
    if (field === "messages" || request[name] === undefined) continue;
    refuse(name, "be absent, as there are no messages", JSON.stringify(request[name]).slice(0, 80));
  }
  if (request[field]!.length === 0) refuse(field, "not be empty", "empty");
}

function checkStops(stops: readonly string[]): void {
  if (stops.length > MAX_STOPS) {
    refuse("stop", `hold at most ${MAX_STOPS} texts`, `${stops.length} texts`);
  }
  if (stops.some((stop) => stop === "")) refuse("stop", "hold no empty text", '""');
  const longest = Math.max(0, ...stops.map(({ length }) => length));
  if (longest > MAX_STOP_LENGTH) {
    const rule = `hold texts of at most ${MAX_STOP_LENGTH} characters`;
    refuse("stop", rule, `a text of ${longest} characters`);
  }
}

export function checkTokens(field: string, tokens: readonly number[], limits: Limits): void {
  const last = limits.vocabSize - 1;
  for (const token of tokens) {
    if (!Number.isInteger(token) || token < 0 || token > last) {
      refuse(field, `hold token ids from 0 to ${last}`, token);
    }
  }
}

/** One below 0 asks for a random one, as with vLLM and llama.cpp: clients that must send one send -1. */
function seedOf({ seed = -1 }: GenerateRequest): bigint {
  return seed < 0 ? crypto.getRandomValues(new BigUint64Array(1))[0]! : BigInt(seed);
}

function refuse(
  field: string,
  rule: string,
  found: number | bigint | string,
  code?: EngineErrorCode,
): never {
  return refuseField(SUBMITTING, field, rule, found, code);
}

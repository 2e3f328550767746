/**
 * From a request as callers write it to one that the library takes: one way there, for every engine.
 *
 * @module
 */
import type { NativeRequest } from "../ffi/native_engine.ts";
import type { LiteralSpan } from "../model/spec.ts";
import type { TemplatesOf } from "./conversation/render.ts";
import { promptOf } from "./prompt.ts";
import type { ReasoningStart } from "./reasoning.ts";
import type { OutputSettings } from "./request_output.ts";
import type { GenerateRequest } from "./types.ts";
import { checkPrompt, type Limits, resolveRequest, sourceField } from "./validation.ts";

/** A request that is checked, complete and encoded. */
export interface PreparedRequest {
  /** Ids of the prompt, as the model gets it. */
  readonly promptTokens: readonly number[];
  /** Every field, the seed too: one was drawn where the request names none. */
  readonly native: NativeRequest;
  /** What its output is made with; nothing of it holds the prompt's text. */
  readonly output: OutputSettings;
}

/** What encodes texts; long ones perhaps later. */
export type Encode<Tokens> = (
  text: string,
  options: {
    readonly addSpecialTokens: boolean;
    readonly literal?: readonly LiteralSpan[] | undefined;
    /** What the text is called in an error. */
    readonly field: string;
    /** Whose it is. */
    readonly caller: string | undefined;
    readonly signal: AbortSignal | undefined;
  },
) => Tokens;

/** The engine's side of {@linkcode prepare}. */
export interface PrepareContext<Tokens> {
  readonly model: TemplatesOf;
  readonly limits: Limits;
  readonly encode: Encode<Tokens>;
}

/** A request whose fields are right, on its way. */
export interface Preparation<Prepared> {
  /**
   * Encodes the prompt. The result is there at once where the tokens are, so that requests are queued
   * in the order of the calls. What is left of the deadline is counted from `prepare()`.
   *
   * @param signal gives up a text that waits to be encoded
   * @throws {EngineError} for the prompt's tokens or their number, perhaps through the promise
   */
  encode(signal?: AbortSignal): Prepared;
}

type Later<T> = T | Promise<T>;

/**
 * Checks a request's fields and renders its prompt.
 *
 * @throws {EngineError} for the field that is out of range
 */
export function prepare(
  request: GenerateRequest,
  context: PrepareContext<number[]>,
): Preparation<PreparedRequest>;
export function prepare(
  request: GenerateRequest,
  context: PrepareContext<Later<number[]>>,
): Preparation<Later<PreparedRequest>>;
export function prepare(
  request: GenerateRequest,
  { model, limits, encode }: PrepareContext<Later<number[]>>,
): Preparation<Later<PreparedRequest>> {
  const arrived = performance.now();
  const native = resolveRequest(request, limits);
  const prompt = promptOf(request, model);
  const output = outputSettings(request, limits, "text" in prompt ? prompt.reasoning : undefined);
  const complete = (promptTokens: readonly number[]): PreparedRequest => {
    checkPrompt(promptTokens, request, limits);
    const deadlineMs = timeLeft(native.deadlineMs, performance.now() - arrived);
    return { promptTokens, native: { ...native, deadlineMs }, output };
  };
  return {
    encode(signal) {
      if ("tokens" in prompt) return complete(prompt.tokens);
      const { text, addSpecialTokens, literal } = prompt;
      const field = sourceField(request);
      const { caller } = request;
      const tokens = encode(text, { addSpecialTokens, literal, field, caller, signal });
      return tokens instanceof Promise ? tokens.then(complete) : complete(tokens);
    },
  };
}

/** 0 is none; a deadline that has passed ends the request at the library's next step. */
function timeLeft(deadlineMs: number, passedMs: number): number {
  return deadlineMs === 0 ? 0 : Math.max(1, deadlineMs - Math.floor(passedMs));
}

function outputSettings(
  request: GenerateRequest,
  limits: Limits,
  reasoning: ReasoningStart | undefined,
): OutputSettings {
  return {
    numSequences: request.n ?? 1,
    eosTokenIds: request.ignoreEos ?? false ? [] : limits.eosTokenIds,
    stopTokenIds: request.stopTokenIds ?? [],
    stop: request.stop ?? [],
    includeStop: request.includeStop ?? false,
    minTokens: request.minTokens ?? 0,
    logprobs: request.logprobs !== undefined,
    promptLogprobs: request.promptLogprobs !== undefined,
    skipSpecialTokens: request.skipSpecialTokens ?? true,
    reasoning,
  };
}

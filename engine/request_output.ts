/**
 * What one request has produced: events of the library in, chunks of text out. No input or output of
 * its own, so that the engine and the manual mode share it.
 *
 * @module
 */
import type { NativeEvent } from "../ffi/events.ts";
import type { Tokenizer } from "../model/spec.ts";
import { Detokenizer } from "./detokenizer.ts";
import { StopMatcher } from "./stop.ts";
import type { FinishReason, GenerateChunk, GenerateRequest, PositionLogprobs } from "./types.ts";

type StartEvent = Extract<NativeEvent, { kind: "start" }>;
type TokenEvent = Extract<NativeEvent, { kind: "token" }>;
type FinishEvent = Extract<NativeEvent, { kind: "finish" }>;
type PromptLogprobEvent = Extract<NativeEvent, { kind: "prompt_logprob" }>;

/** Events of a request that does not fail. */
export type OutputEvent = StartEvent | TokenEvent | FinishEvent | PromptLogprobEvent;

/** What the output needs to know of its request. */
export interface OutputOptions {
  readonly request: GenerateRequest;
  readonly promptTokens: readonly number[];
  readonly tokenizer: Tokenizer;
  readonly eosTokenIds: readonly number[];
  /** A stop text was found: end the sequence, of which the first `keepTokens` tokens count. */
  readonly stopSequence: (index: number, keepTokens: number) => void;
}

/** See the module's comment. */
export class RequestOutput {
  readonly promptLogprobs: (PositionLogprobs | undefined)[] | undefined;
  numCachedTokens = 0;
  /** From its submission to its first step; undefined before that step. */
  queueMs: number | undefined;
  readonly #options: OutputOptions;
  readonly #sequences: readonly SequenceOutput[];
  #numFinishEvents = 0;

  constructor(options: OutputOptions) {
    const { request, promptTokens } = options;
    this.#options = options;
    this.#sequences = Array.from(
      { length: request.n ?? 1 },
      (_, index) => new SequenceOutput(index, options),
    );
    if (request.promptLogprobs !== undefined) {
      this.promptLogprobs = new Array<undefined>(promptTokens.length).fill(undefined);
    }
  }

  /** Output tokens that count, over all sequences. */
  get numOutputTokens(): number {
    return this.#sequences.reduce((sum, { numTokens }) => sum + numTokens, 0);
  }

  /** Every sequence's last chunk is out. */
  get ended(): boolean {
    return this.#sequences.every((sequence) => sequence.ended);
  }

  /** The library is done with it: no event will follow. */
  get released(): boolean {
    return this.#numFinishEvents === this.#sequences.length;
  }

  /** What an event adds; undefined: nothing, also when its sequence has ended by a stop text. */
  take(event: OutputEvent): GenerateChunk | undefined {
    switch (event.kind) {
      case "start":
        this.numCachedTokens = event.cachedTokens;
        this.queueMs = event.queueMicroseconds / 1000;
        return undefined;
      case "token":
        return this.#token(event);
      case "prompt_logprob":
        this.#promptLogprob(event);
        return undefined;
      case "finish":
        return this.#finish(event);
    }
  }

  #token(event: TokenEvent): GenerateChunk | undefined {
    const sequence = this.#sequences[event.sequence]!;
    if (sequence.ended) return undefined;
    this.numCachedTokens = event.cachedTokens;
    const chunk = sequence.take(event.tokens);
    if (sequence.ended) {
      const numBehind = event.tokens.length - chunk.tokens.length;
      this.#options.stopSequence(event.sequence, event.numOutputTokens - numBehind);
    }
    return chunk;
  }

  #promptLogprob({ position, token }: PromptLogprobEvent): void {
    if (this.promptLogprobs !== undefined) this.promptLogprobs[position] = token;
  }

  #finish(event: FinishEvent): GenerateChunk | undefined {
    this.#numFinishEvents++;
    this.numCachedTokens = event.cachedTokens;
    const sequence = this.#sequences[event.sequence]!;
    return sequence.ended ? undefined : sequence.finish(event.reason);
  }
}

/** One of the request's n continuations. */
class SequenceOutput {
  ended = false;
  numTokens = 0;
  readonly #index: number;
  readonly #options: OutputOptions;
  readonly #detokenizer: Detokenizer;
  readonly #stops: StopMatcher;
  #lastToken: number | undefined;

  constructor(index: number, options: OutputOptions) {
    const { request, tokenizer, promptTokens } = options;
    this.#index = index;
    this.#options = options;
    this.#detokenizer = new Detokenizer(tokenizer, promptTokens, {
      skipSpecialTokens: request.skipSpecialTokens ?? true,
    });
    this.#stops = new StopMatcher(request.stop ?? [], {
      includeStop: request.includeStop ?? false,
    });
  }

  /** Tokens behind the one that completes a stop text are left out: they do not count. */
  take(drawn: readonly PositionLogprobs[]): GenerateChunk {
    const taken: PositionLogprobs[] = [];
    let text = "";
    for (const position of drawn) {
      taken.push(position);
      this.numTokens++;
      this.#lastToken = position.token;
      const found = this.#textOf(position.token);
      text += found.text;
      if (found.stop === undefined) continue;
      this.ended = true;
      return this.#tokenChunk(text, taken, { finishReason: "stop", stopReason: found.stop });
    }
    return this.#tokenChunk(text, taken, {});
  }

  finish(finishReason: FinishReason): GenerateChunk {
    this.ended = true;
    const text = this.#push(this.#detokenizer.flush());
    const stopReason = text.stop ?? (finishReason === "stop" ? this.#stopToken() : null);
    return this.#chunk(text.text + this.#stops.flush(), {
      logprobs: this.#options.request.logprobs === undefined ? undefined : [],
      finishReason: text.stop === undefined ? finishReason : "stop",
      stopReason,
    });
  }

  /** A token that ends the text is no part of it, unless asked for. */
  #textOf(token: number): { readonly text: string; readonly stop: string | undefined } {
    if (this.#endsText(token) && !(this.#options.request.includeStop ?? false)) {
      return { text: "", stop: undefined };
    }
    return this.#push(this.#detokenizer.push(token));
  }

  /** Stop texts do not count before `minTokens`. */
  #push(text: string): { readonly text: string; readonly stop: string | undefined } {
    const early = this.numTokens <= (this.#options.request.minTokens ?? 0);
    return early ? { text, stop: undefined } : this.#stops.push(text);
  }

  #endsText(token: number): boolean {
    const { request } = this.#options;
    return this.#isEos(token) || (request.stopTokenIds ?? []).includes(token);
  }

  #isEos(token: number): boolean {
    const { request, eosTokenIds } = this.#options;
    return !(request.ignoreEos ?? false) && eosTokenIds.includes(token);
  }

  #stopToken(): number | null {
    const token = this.#lastToken;
    return token === undefined || this.#isEos(token) ? null : token;
  }

  #tokenChunk(
    text: string,
    taken: readonly PositionLogprobs[],
    rest: Partial<GenerateChunk>,
  ): GenerateChunk {
    const logprobs = this.#options.request.logprobs === undefined ? undefined : taken;
    return this.#chunk(text, { tokens: taken.map(({ token }) => token), logprobs, ...rest });
  }

  #chunk(text: string, rest: Partial<GenerateChunk>): GenerateChunk {
    return {
      index: this.#index,
      text,
      tokens: [],
      logprobs: undefined,
      finishReason: null,
      stopReason: null,
      ...rest,
    };
  }
}

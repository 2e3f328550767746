/**
 * What one request has produced: events of the library in, chunks of text out. No input or output of
 * its own, so that the engine and the manual mode share it.
 *
 * @module
 */
import type { NativeEvent } from "../ffi/events.ts";
import type { Tokenizer } from "../model/spec.ts";
import { Detokenizer } from "./detokenizer.ts";
import {
  type OutputParser,
  plainText,
  ReasoningParser,
  type ReasoningStart,
  textOf,
} from "./reasoning.ts";
import { StopMatcher, StopTexts } from "./stop.ts";
import {
  type FinishReason,
  type GenerateChunk,
  LogprobList,
  type Part,
  type PositionLogprobs,
} from "./types.ts";

type StartEvent = Extract<NativeEvent, { kind: "start" }>;
type TokenEvent = Extract<NativeEvent, { kind: "token" }>;
type FinishEvent = Extract<NativeEvent, { kind: "finish" }>;
type PromptLogprobEvent = Extract<NativeEvent, { kind: "prompt_logprob" }>;

/** Events of a request that does not fail. */
export type OutputEvent = StartEvent | TokenEvent | FinishEvent | PromptLogprobEvent;

/** What a request asks of its output. */
export interface OutputSettings {
  readonly numSequences: number;
  /** The model's own that end a text; none where the request goes past them. */
  readonly eosTokenIds: readonly number[];
  /** The request's own. */
  readonly stopTokenIds: readonly number[];
  readonly stop: readonly string[];
  readonly includeStop: boolean;
  readonly minTokens: number;
  readonly logprobs: boolean;
  readonly promptLogprobs: boolean;
  readonly skipSpecialTokens: boolean;
  /** Undefined: all is text. */
  readonly reasoning: ReasoningStart | undefined;
}

/** What the output needs to know of its request. */
export interface OutputOptions {
  readonly settings: OutputSettings;
  readonly promptTokens: readonly number[];
  readonly tokenizer: Tokenizer;
  /** A stop text was found: end the sequence, of which the first `keepTokens` tokens count. */
  readonly stopSequence: (index: number, keepTokens: number) => void;
}

/** See the module's comment. */
export class RequestOutput {
  readonly promptLogprobs: (PositionLogprobs | undefined)[] | undefined;
  numCachedTokens = 0;
  readonly #options: OutputOptions;
  readonly #sequences: readonly SequenceOutput[];
  #numFinishEvents = 0;

  constructor(options: OutputOptions) {
    const { settings, promptTokens } = options;
    this.#options = options;
    const stops = new StopTexts(settings.stop, settings);
    this.#sequences = Array.from(
      { length: settings.numSequences },
      (_, index) => new SequenceOutput(index, stops, options),
    );
    if (settings.promptLogprobs) {
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

/** One of the request's n continuations: tokens → text → stop texts → parts. */
class SequenceOutput {
  ended = false;
  numTokens = 0;
  readonly #index: number;
  readonly #settings: OutputSettings;
  readonly #detokenizer: Detokenizer;
  readonly #stops: StopMatcher;
  readonly #parser: OutputParser;
  #lastToken: number | undefined;

  constructor(index: number, stops: StopTexts, options: OutputOptions) {
    const { settings, tokenizer, promptTokens } = options;
    const { skipSpecialTokens, reasoning } = settings;
    this.#index = index;
    this.#settings = settings;
    this.#detokenizer = new Detokenizer(tokenizer, promptTokens, {
      skipSpecialTokens,
      kept: reasoning === undefined ? [] : specialTokens(tokenizer, reasoning),
    });
    this.#stops = new StopMatcher(stops);
    this.#parser = reasoning === undefined ? plainText : new ReasoningParser(reasoning);
  }

  /** Tokens behind the one that completes a stop text are left out: they do not count. */
  take(drawn: LogprobList): GenerateChunk {
    const tokens: number[] = [];
    let text = "";
    while (tokens.length < drawn.length) {
      const token = drawn.tokenAt(tokens.length);
      tokens.push(token);
      this.numTokens++;
      this.#lastToken = token;
      const found = this.#textOf(token);
      text += found.text;
      if (found.stop === undefined) continue;
      this.ended = true;
      const end = { finishReason: "stop", stopReason: found.stop } as const;
      return this.#chunk(text, tokens, drawn.first(tokens.length), end);
    }
    return this.#chunk(text, tokens, drawn);
  }

  finish(finishReason: FinishReason): GenerateChunk {
    this.ended = true;
    const { text, stop } = this.#push(this.#detokenizer.flush());
    return this.#chunk(text + this.#stops.flush(), [], new LogprobList(), {
      finishReason: stop === undefined ? finishReason : "stop",
      stopReason: stop ?? (finishReason === "stop" ? this.#stopToken() : null),
    });
  }

  /** A token that ends the text is no part of it, unless asked for. */
  #textOf(token: number): { readonly text: string; readonly stop: string | undefined } {
    if (this.#endsText(token) && !this.#settings.includeStop) return { text: "", stop: undefined };
    return this.#push(this.#detokenizer.push(token));
  }

  /** A stop text that ends within `minTokens` does not count; one that begins there does. */
  #push(text: string): { readonly text: string; readonly stop: string | undefined } {
    return this.#stops.push(text, this.numTokens > this.#settings.minTokens);
  }

  #endsText(token: number): boolean {
    const { eosTokenIds, stopTokenIds } = this.#settings;
    return eosTokenIds.includes(token) || stopTokenIds.includes(token);
  }

  #stopToken(): number | null {
    const token = this.#lastToken;
    return token === undefined || this.#settings.eosTokenIds.includes(token) ? null : token;
  }

  #chunk(
    text: string,
    tokens: readonly number[],
    logprobs: LogprobList,
    end?: { readonly finishReason: FinishReason; readonly stopReason: string | number | null },
  ): GenerateChunk {
    const pushed = this.#parser.push(text);
    const parts = end === undefined ? pushed : joinParts(pushed, this.#parser.flush());
    return {
      index: this.#index,
      text: textOf(parts, "text"),
      parts,
      tokens,
      logprobs: this.#settings.logprobs ? logprobs : undefined,
      finishReason: end?.finishReason ?? null,
      stopReason: end?.stopReason ?? null,
    };
  }
}

/** One list behind another; what is of a kind where they meet becomes one part. */
function joinParts(first: readonly Part[], second: readonly Part[]): readonly Part[] {
  const [last, next] = [first.at(-1), second[0]];
  if (last === undefined || next === undefined || last.kind !== next.kind) {
    return [...first, ...second];
  }
  const joined = { kind: last.kind, text: last.text + next.text };
  return [...first.slice(0, -1), joined, ...second.slice(1)];
}

/** Markers that are control tokens: their text would be left out before it is looked for. */
function specialTokens(tokenizer: Tokenizer, { markers }: ReasoningStart): number[] {
  return [markers.start, markers.end].map((marker) => tokenizer.encode(marker))
    .filter(({ length }) => length === 1).flat().filter((token) => tokenizer.isSpecial(token));
}

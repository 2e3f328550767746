/**
 * What texts are continued with. Choice `p * n + s` is sequence `s` of prompt `p`.
 *
 * @module
 */
import type { GenerateChunk, PositionLogprobs, Run, RunResult } from "../../../engine/types.ts";
import type { Tokenizer } from "../../../model/spec.ts";
import type { Answering, Writer } from "../dialect.ts";
import { endOf, headOf, StreamUsage, tokenNames, usageOf } from "../openai/answer.ts";
import { lazily, LazyList } from "../lazy_list.ts";
import { promptLogprobsOf } from "../openai/prompt_logprobs.ts";
import { finite, tokenString } from "../values.ts";
import { type CompletionBody, promptsOf } from "./schema.ts";

/** A token of the prompt or of the output; the very first has no log probability. */
type Scored = PositionLogprobs | { readonly token: number };

/** What stands before an output. */
interface Echo {
  readonly text: string;
  readonly scored: Iterable<Scored>;
}

const SILENCE: Echo = { text: "", scored: [] };

/** One answer's choices, whole or in pieces. */
export class CompletionWriter implements Writer {
  readonly #numSequences: number;
  readonly #numLogprobs: number | undefined;
  readonly #promptLogprobs: boolean;
  readonly #tokenIds: boolean;
  readonly #usage: StreamUsage;
  readonly #head;
  readonly #tokenizer: Tokenizer;
  readonly #nameOf: (token: number) => string;
  readonly #runs: readonly Run[];
  /** Texts that come before the outputs; undefined where none do. */
  readonly #echoed: readonly string[] | undefined;
  /** By choice: whether its first event has left, and where its next token's text begins. */
  readonly #started: boolean[] = [];
  readonly #offsets: number[] = [];

  constructor(body: CompletionBody, answering: Answering) {
    const { tokenizer, runs } = answering;
    this.#numSequences = body.n ?? 1;
    this.#numLogprobs = body.logprobs ?? undefined;
    this.#promptLogprobs = typeof body.prompt_logprobs === "number";
    this.#tokenIds = body.return_token_ids ?? false;
    this.#usage = new StreamUsage(body.stream_options, answering.runs);
    this.#head = headOf("cmpl", "text_completion", answering);
    this.#tokenizer = tokenizer;
    this.#nameOf = tokenNames(tokenizer, body);
    this.#runs = runs;
    this.#echoed = !body.echo
      ? undefined
      : promptsOf(body).map((prompt) =>
        typeof prompt === "string" ? prompt : tokenizer.decode(prompt, { skipSpecialTokens: true })
      );
  }

  whole(results: readonly RunResult[]): object {
    const choices = results.flatMap(({ sequences, promptTokens, promptLogprobs }, p) => {
      const echo = this.#echo(p);
      return sequences.map((sequence) => ({
        index: this.#choice(p, sequence),
        text: echo.text + sequence.text,
        logprobs: this.#logprobs(scoredOf(echo, sequence), 0),
        ...endOf(sequence),
        ...(this.#tokenIds && {
          prompt_token_ids: [...promptTokens],
          token_ids: [...sequence.tokens],
        }),
        ...(this.#promptLogprobs && promptLogprobsOf(promptLogprobs, this.#tokenizer)),
      }));
    });
    return { ...this.#head, choices, usage: usageOf(this.#runs) };
  }

  begin(): object[] {
    return [];
  }

  chunk(p: number, chunk: GenerateChunk): object[] {
    const index = this.#choice(p, chunk);
    const started = this.#started[index] ?? false;
    const echo = started ? SILENCE : this.#echo(p);
    if (this.#saysNothing(chunk) && echo.text === "") return [];
    // Read several times, and short: positions are made once.
    const scored = [...scoredOf(echo, chunk)];
    const offset = this.#offsets[index] ?? 0;
    const choice = {
      index,
      text: echo.text + chunk.text,
      logprobs: this.#logprobs(scored, offset),
      ...endOf(chunk),
      ...(this.#tokenIds && {
        ...(!started && { prompt_token_ids: [...this.#runs[p]!.promptTokens] }),
        token_ids: chunk.tokens,
      }),
    };
    this.#started[index] = true;
    this.#offsets[index] = offset +
      scored.reduce((sum, { token }) => sum + this.#string(token).length, 0);
    return [{ ...this.#head, choices: [choice], ...this.#usage.ofEvent() }];
  }

  end(): object[] {
    return this.#usage.end(this.#head);
  }

  #choice(p: number, { index }: GenerateChunk): number {
    return p * this.#numSequences + index;
  }

  #saysNothing(chunk: GenerateChunk): boolean {
    return chunk.text === "" && chunk.finishReason === null && !chunk.logprobs?.length &&
      !this.#tokenIds;
  }

  /** What stands before the outputs of prompt `p`; its log probabilities come with the chunks. */
  #echo(p: number): Echo {
    if (this.#echoed === undefined) return SILENCE;
    const { promptTokens, promptLogprobs } = this.#runs[p]!;
    const scored = promptTokens.map((token, i) => promptLogprobs?.[i] ?? { token });
    return { text: this.#echoed[p]!, scored };
  }

  #logprobs(scored: Iterable<Scored>, offset: number) {
    const numLogprobs = this.#numLogprobs;
    if (numLogprobs === undefined) return null;
    const strings = lazily(scored, ({ token }) => this.#string(token));
    return {
      tokens: lazily(scored, ({ token }) => this.#nameOf(token)),
      token_logprobs: lazily(scored, (one) => "logprob" in one ? finite(one.logprob) : null),
      top_logprobs: lazily(scored, (one) => {
        if (!("logprob" in one)) return null;
        const likely = one.top.slice(0, numLogprobs);
        return Object.fromEntries(
          [...likely, one].map(({ token, logprob }) => [this.#nameOf(token), finite(logprob)]),
        );
      }),
      text_offset: new LazyList(function* () {
        let at = offset;
        for (const text of strings) {
          yield at;
          at += text.length;
        }
      }),
    };
  }

  #string(token: number): string {
    return tokenString(this.#tokenizer, token);
  }
}

/** Of a whole answer there may be too many to be objects at a time. */
function scoredOf(echo: Echo, { logprobs }: GenerateChunk): LazyList<Scored> {
  return new LazyList(function* () {
    yield* echo.scored;
    yield* logprobs ?? [];
  });
}

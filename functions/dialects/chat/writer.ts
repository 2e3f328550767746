/**
 * What a chat is answered.
 *
 * @module
 */
import { textOf } from "../../../engine/reasoning.ts";
import type { GenerateChunk, LogprobList, Part, Run, RunResult } from "../../../engine/types.ts";
import type { Tokenizer } from "../../../model/spec.ts";
import type { Answering, Writer } from "../dialect.ts";
import { endOf, headOf, StreamUsage, tokenNames, usageOf } from "../openai/answer.ts";
import { lazily } from "../lazy_list.ts";
import { promptLogprobsOf } from "../openai/prompt_logprobs.ts";
import { finite } from "../values.ts";
import type { ChatBody } from "./schema.ts";

/** The one run's messages, whole or as deltas. */
export class ChatWriter implements Writer {
  readonly #numSequences: number;
  readonly #tokenIds: boolean;
  readonly #reasoning: boolean;
  readonly #usage: StreamUsage;
  readonly #head;
  readonly #tokenizer: Tokenizer;
  readonly #nameOf: (token: number) => string;
  readonly #run: Run;

  constructor(body: ChatBody, answering: Answering) {
    this.#numSequences = body.n ?? 1;
    this.#tokenIds = body.return_token_ids ?? false;
    this.#reasoning = body.include_reasoning ?? true;
    this.#usage = new StreamUsage(body.stream_options, answering.runs);
    this.#head = headOf(
      "chatcmpl",
      body.stream ? "chat.completion.chunk" : "chat.completion",
      answering,
    );
    this.#tokenizer = answering.tokenizer;
    this.#nameOf = tokenNames(answering.tokenizer, body);
    this.#run = answering.runs[0]!;
  }

  whole([result]: readonly RunResult[]): object {
    const { sequences, promptTokens, promptLogprobs } = result!;
    return {
      ...this.#head,
      choices: sequences.map((sequence) => ({
        index: sequence.index,
        message: {
          role: "assistant",
          content: sequence.text,
          refusal: null,
          ...this.#reasoningOf(sequence.parts),
        },
        logprobs: this.#logprobs(sequence.logprobs),
        ...endOf(sequence),
        ...(this.#tokenIds && { token_ids: [...sequence.tokens] }),
      })),
      usage: usageOf([this.#run]),
      ...(this.#tokenIds && { prompt_token_ids: [...promptTokens] }),
      ...promptLogprobsOf(promptLogprobs, this.#tokenizer),
    };
  }

  begin(): object[] {
    return Array.from({ length: this.#numSequences }, (_, index) =>
      this.#event([{
        index,
        delta: { role: "assistant", content: "" },
        logprobs: null,
        finish_reason: null,
      }], {
        ...(this.#tokenIds && index === 0 && { prompt_token_ids: [...this.#run.promptTokens] }),
      }));
  }

  chunk(_run: number, chunk: GenerateChunk): object[] {
    const ended = chunk.finishReason !== null;
    const reasoning = this.#reasoningOf(chunk.parts);
    const saysNothing = chunk.text === "" && reasoning === undefined;
    if (saysNothing && !ended && !chunk.logprobs?.length && !this.#tokenIds) return [];
    const hasContent = chunk.text !== "" || (!ended && reasoning === undefined);
    const { finish_reason, stop_reason } = endOf(chunk);
    return [this.#event([{
      index: chunk.index,
      delta: { ...reasoning, ...(hasContent && { content: chunk.text }) },
      logprobs: this.#logprobs(chunk.logprobs),
      finish_reason,
      ...(ended && { stop_reason }),
      ...(this.#tokenIds && { token_ids: chunk.tokens }),
    }])];
  }

  end(): object[] {
    return this.#usage.end(this.#head);
  }

  #event(choices: readonly object[], more: object = {}): object {
    return { ...this.#head, choices, ...this.#usage.ofEvent(), ...more };
  }

  /** By vLLM's name of today, and by DeepSeek's and SGLang's; clients read one of the two. */
  #reasoningOf(parts: readonly Part[]) {
    if (!this.#reasoning) return undefined;
    const reasoning = textOf(parts, "reasoning");
    return reasoning === "" ? undefined : { reasoning, reasoning_content: reasoning };
  }

  /** As many of the likeliest as the engine was asked for. */
  #logprobs(positions: LogprobList | undefined) {
    if (positions === undefined) return null;
    const entry = ({ token, logprob }: { token: number; logprob: number }) => ({
      token: this.#nameOf(token),
      logprob: finite(logprob),
      bytes: [...this.#tokenizer.tokenBytes(token)],
    });
    return {
      content: lazily(positions, (position) => ({
        ...entry(position),
        top_logprobs: position.top.map(entry),
      })),
    };
  }
}

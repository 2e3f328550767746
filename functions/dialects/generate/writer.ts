/**
 * What our own route answers.
 *
 * @module
 */
import { textOf } from "../../../engine/reasoning.ts";
import type { GenerateChunk, PositionLogprobs, Run, RunResult } from "../../../engine/types.ts";
import type { Answering, Writer } from "../dialect.ts";
import { lazily } from "../lazy_list.ts";
import { present } from "../present.ts";
import { finishReason, finite, newId } from "../values.ts";

/** The one run's outputs, whole or in pieces. */
export class GenerateWriter implements Writer {
  readonly #model: string;
  readonly #run: Run;

  constructor({ model, runs }: Answering) {
    this.#model = model;
    this.#run = runs[0]!;
  }

  whole([result]: readonly RunResult[]): object {
    return {
      id: newId("gen"),
      model: this.#model,
      outputs: result!.sequences.map(outputOf),
      ...this.#end(),
    };
  }

  begin(): object[] {
    return [];
  }

  chunk(_run: number, chunk: GenerateChunk): object[] {
    return [outputOf(chunk)];
  }

  end(): object[] {
    return [this.#end()];
  }

  #end(): object {
    const { promptTokens, numCachedTokens, numOutputTokens, promptLogprobs } = this.#run;
    return {
      ...present({
        prompt_logprobs: promptLogprobs &&
          lazily(promptLogprobs, (one) => one ? onWire(one) : null),
      }),
      usage: {
        prompt_tokens: promptTokens.length,
        cached_tokens: numCachedTokens,
        output_tokens: numOutputTokens,
      },
    };
  }
}

function outputOf({ index, text, parts, tokens, logprobs, ...end }: GenerateChunk): object {
  const reasoning = textOf(parts, "reasoning");
  return {
    index,
    text,
    ...(reasoning !== "" && { reasoning }),
    tokens,
    ...(logprobs && { logprobs: lazily(logprobs, onWire) }),
    finish_reason: end.finishReason === null ? null : finishReason(end.finishReason),
    stop_reason: end.stopReason,
  };
}

function onWire({ token, logprob, top }: PositionLogprobs) {
  return {
    token,
    logprob: finite(logprob),
    top: top.map((one) => ({ token: one.token, logprob: finite(one.logprob) })),
  };
}

/**
 * What `/v1/completions` answers, whole or in pieces. Choice `p * n + s` is sequence `s` of prompt
 * `p`.
 *
 * @module
 */
import type { z } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { GenerateChunk, PositionLogprobs, Run } from "../../engine/types.ts";
import type { Tokenizer } from "../../model/spec.ts";
import type { Completion, CompletionBody, OnePrompt } from "../completions.ts";
import type { Env } from "../env.ts";
import { interleave } from "./interleave.ts";
import { finishReason, finite, newId, now, tokenString, usageOf } from "./openai_format.ts";
import { promptLogprobsOf } from "./prompt_logprobs.ts";

/** A token of the prompt or of the output; the very first has no log probability. */
type Scored = PositionLogprobs | { readonly token: number };

/** One request's answer, in either of its two forms. */
export class CompletionAnswer {
  readonly #tokenizer: Tokenizer;
  readonly #numSequences: number;
  readonly #head;

  constructor(
    readonly c: Context<Env>,
    readonly body: CompletionBody,
    model: string,
    readonly prompts: readonly OnePrompt[],
    readonly generations: readonly Run[],
  ) {
    this.#tokenizer = c.var.engine.model.tokenizer;
    this.#numSequences = body.n ?? 1;
    this.#head = {
      id: newId("cmpl"),
      object: "text_completion" as const,
      created: now(),
      model,
      system_fingerprint: c.var.engine.fingerprint,
    };
  }

  async whole(): Promise<z.infer<typeof Completion>> {
    const { body, generations } = this;
    const choices = await Promise.all(generations.map(async (generation, p) => {
      const { sequences } = await generation.result();
      const echo = this.#echo(p);
      return sequences.map((sequence, s) => ({
        index: p * this.#numSequences + s,
        text: echo.text + sequence.text,
        logprobs: this.#logprobs([...echo.scored, ...sequence.logprobs ?? []], 0),
        finish_reason: finishReason(sequence.finishReason),
        stop_reason: sequence.stopReason,
        ...(body.return_token_ids && {
          prompt_token_ids: [...generation.promptTokens],
          token_ids: [...sequence.tokens],
        }),
        ...(typeof body.prompt_logprobs === "number" &&
          promptLogprobsOf(generation, this.#tokenizer)),
      }));
    }));
    return { ...this.#head, choices: choices.flat(), usage: usageOf(generations) };
  }

  async *events(): AsyncGenerator<object> {
    const { body, generations } = this;
    const { include_usage, continuous_usage_stats } = body.stream_options ?? {};
    const numChoices = generations.length * this.#numSequences;
    const started = new Array<boolean>(numChoices).fill(false);
    const offsets = new Array<number>(numChoices).fill(0);
    const all = interleave(generations);
    for await (const { source: p, value: chunk } of all) {
      const index = p * this.#numSequences + chunk.index;
      const echo = started[index] ? { text: "", scored: [] } : this.#echo(p);
      if (this.#saysNothing(chunk) && echo.text === "") continue;
      const scored = [...echo.scored, ...chunk.logprobs ?? []];
      const choice = {
        index,
        text: echo.text + chunk.text,
        logprobs: this.#logprobs(scored, offsets[index]!),
        finish_reason: chunk.finishReason === null ? null : finishReason(chunk.finishReason),
        stop_reason: chunk.stopReason,
        ...(body.return_token_ids && {
          ...(!started[index] && { prompt_token_ids: [...generations[p]!.promptTokens] }),
          token_ids: chunk.tokens,
        }),
      };
      started[index] = true;
      offsets[index]! += scored.reduce((sum, { token }) => sum + this.#string(token).length, 0);
      yield {
        ...this.#head,
        choices: [choice],
        ...(include_usage && { usage: continuous_usage_stats ? usageOf(generations) : null }),
      };
    }
    if (include_usage) yield { ...this.#head, choices: [], usage: usageOf(generations) };
  }

  #saysNothing(chunk: GenerateChunk): boolean {
    return chunk.text === "" && chunk.finishReason === null && !chunk.logprobs?.length &&
      !this.body.return_token_ids;
  }

  /** What stands before the output of prompt `p`; its log probabilities come with the chunks. */
  #echo(p: number): { readonly text: string; readonly scored: readonly Scored[] } {
    if (!this.body.echo) return { text: "", scored: [] };
    const prompt = this.prompts[p]!;
    const { promptTokens, promptLogprobs } = this.generations[p]!;
    return {
      text: typeof prompt === "string" ? prompt : this.c.var.engine.detokenize(prompt),
      scored: promptTokens.map((token, i) => promptLogprobs?.[i] ?? { token }),
    };
  }

  #logprobs(scored: readonly Scored[], offset: number) {
    const { logprobs } = this.body;
    if (logprobs === null || logprobs === undefined) return null;
    const tokens = scored.map(({ token }) => this.#string(token));
    let next = offset;
    return {
      tokens,
      token_logprobs: scored.map((one) => "logprob" in one ? finite(one.logprob) : null),
      top_logprobs: logprobs === 0 ? null : scored.map((one) => {
        if (!("logprob" in one)) return null;
        const likely = one.top.slice(0, logprobs);
        return Object.fromEntries(
          [...likely, one].map(({ token, logprob }) => [this.#string(token), finite(logprob)]),
        );
      }),
      text_offset: tokens.map((text) => {
        const at = next;
        next += text.length;
        return at;
      }),
    };
  }

  #string(token: number): string {
    return tokenString(this.#tokenizer, token);
  }
}

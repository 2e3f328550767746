/**
 * From a request to a generation under way, or to a refusal before a byte has left.
 *
 * @module
 */
import type { Context } from "hono";
import {
  EngineError,
  type GenerateChunk,
  type GenerateRequest,
  type Generation,
} from "../../engine/types.ts";
import type { Env } from "../env.ts";
import { refusalOf } from "../errors.ts";
import { saltOf } from "../server/caller.ts";

/**
 * Submits requests of one caller together: all are accepted, or all are cancelled and the first
 * refusal is thrown. They end when the caller leaves.
 *
 * @param names of the engine's fields on this route's wire, where they differ by more than case
 * @throws {HttpError} what refused one
 */
export async function submitAll(
  c: Context<Env>,
  requests: readonly GenerateRequest[],
  names: Readonly<Record<string, string>> = {},
): Promise<Generation[]> {
  const { engine, caller, signal, instance } = c.var;
  const { generationConfig } = instance.options;
  const defaults = generationConfig === "auto" ? engine.model.samplingDefaults : {};
  const generations: Generation[] = [];
  try {
    for (const request of requests) {
      const salt = saltOf(caller, request.salt);
      generations.push(engine.generate({ ...defaults, ...request, salt, signal }));
    }
    await Promise.all(generations.map(({ accepted }) => accepted));
    c.var.record.queued();
    return generations;
  } catch (error) {
    generations.forEach((generation) => generation.cancel());
    await Promise.allSettled(generations.map(({ accepted }) => accepted));
    if (!(error instanceof EngineError)) throw error;
    throw refusalOf(error, { badWords: "bad_words_token_ids", ...names }) ?? error;
  }
}

/** The chunks of a generation, with their times noted. */
export async function* chunksOf(
  c: Context<Env>,
  generation: Generation,
): AsyncGenerator<GenerateChunk> {
  const { record } = c.var;
  const lengths: number[] = [];
  let firstMs: number | undefined;
  try {
    for await (const chunk of generation) {
      const { index, tokens } = chunk;
      record.tokensCame(tokens.length);
      if (tokens.length > 0) firstMs ??= record.elapsedMs();
      lengths[index] = (lengths[index] ?? 0) + tokens.length;
      yield chunk;
    }
  } finally {
    record.longestOutput = Math.max(record.longestOutput, ...Object.values(lengths));
    record.generationEnded(generation, firstMs);
  }
}

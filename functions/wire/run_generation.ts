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

/**
 * Submits requests of one caller together: all are accepted, or all are cancelled and the first
 * refusal is thrown. They end when the caller leaves.
 *
 * @param names of the engine's fields on this route's wire, where they differ by more than case
 * @throws {EngineError} what refused one
 */
export async function submitAll(
  c: Context<Env>,
  requests: readonly GenerateRequest[],
  names: Readonly<Record<string, string>> = {},
): Promise<Generation[]> {
  const { engine, salt, signal } = c.var;
  const generations: Generation[] = [];
  try {
    for (const request of requests) {
      generations.push(engine.generate({ ...request, salt, signal }));
    }
    await Promise.all(generations.map(({ accepted }) => accepted));
    return generations;
  } catch (error) {
    generations.forEach((generation) => generation.cancel());
    await Promise.allSettled(generations.map(({ accepted }) => accepted));
    throw inNamesOf(error, { badWords: "bad_words_token_ids", ...names });
  }
}

/** An engine's error with the names that fields have on the wire; others are snake_case anyhow. */
function inNamesOf(error: unknown, names: Readonly<Record<string, string>>): unknown {
  if (!(error instanceof EngineError)) return error;
  const message = Object.entries(names).reduce(
    (text, [field, name]) => text.replace(new RegExp(`\\b${field}\\b`), name),
    error.message,
  );
  const { code, rule, value, retryAfterMs } = error;
  const field = error.field === undefined ? undefined : names[error.field] ?? error.field;
  return new EngineError(code, message, { field, rule, value, retryAfterMs });
}

/** The chunks of a generation, with their times noted. */
export async function* chunksOf(
  c: Context<Env>,
  generation: Generation,
): AsyncGenerator<GenerateChunk> {
  const { record } = c.var;
  try {
    for await (const chunk of generation) {
      record.tokensCame(chunk.tokens.length);
      yield chunk;
    }
  } finally {
    record.generationEnded(generation);
  }
}

/**
 * From a request to a generation under way, or to a refusal before a byte has left.
 *
 * @module
 */
import type { Context } from "hono";
import type { GenerateChunk, GenerateRequest, Generation } from "../../engine/types.ts";
import type { Env } from "../env.ts";
import { HttpError } from "../errors.ts";

/**
 * Submits requests of one caller together: all are accepted, or all are cancelled and the first
 * refusal is thrown. They end when the caller leaves.
 *
 * @throws {EngineError | HttpError} what refused one
 */
export async function submitAll(
  c: Context<Env>,
  requests: readonly GenerateRequest[],
): Promise<Generation[]> {
  const { engine, salt, signal } = c.var;
  const generations: Generation[] = [];
  try {
    for (const request of requests) {
      generations.push(engine.generate({ ...request, salt, signal }));
    }
    await Promise.all(generations.map(({ accepted }) => accepted));
    requests.forEach((request, i) => {
      requireRoom(generations[i]!.promptTokens.length, request.maxTokens ?? 0, engine.maxModelLen);
    });
    return generations;
  } catch (error) {
    generations.forEach((generation) => generation.cancel());
    await Promise.allSettled(generations.map(({ accepted }) => accepted));
    throw error;
  }
}

/** The engine would end at its longest context; a caller who asks for more is told instead. */
function requireRoom(promptLen: number, maxTokens: number, maxModelLen: number): void {
  if (promptLen + maxTokens <= maxModelLen) return;
  throw new HttpError(
    400,
    "context_length_exceeded",
    `Cannot generate: prompt and max_tokens together must be at most ${maxModelLen} tokens: ` +
      `current values are ${promptLen} and ${maxTokens}`,
    "max_tokens",
  );
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

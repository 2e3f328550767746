/**
 * From a request to runs under way, or to a refusal before a byte has left.
 *
 * @module
 */
import type { Context } from "hono";
import { EngineError, type GenerateRequest, type Run } from "../../engine/types.ts";
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
): Promise<Run[]> {
  const { engine, caller, signal, instance, record } = c.var;
  const { generationConfig } = instance.options;
  const defaults = generationConfig === "auto" ? engine.model.samplingDefaults : {};
  const runs: Run[] = [];
  try {
    for (const request of requests) {
      const salt = saltOf(caller, request.salt);
      const complete = { ...defaults, ...request, salt, signal };
      runs.push(record.run((observer) => engine.generate(complete, observer)));
    }
    await Promise.all(runs.map(({ accepted }) => accepted));
    return runs;
  } catch (error) {
    runs.forEach((run) => run.cancel());
    await Promise.allSettled(runs.map(({ accepted }) => accepted));
    if (!(error instanceof EngineError)) throw error;
    throw refusalOf(error, { badWords: "bad_words_token_ids", ...names }) ?? error;
  }
}

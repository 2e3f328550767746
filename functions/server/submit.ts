/**
 * From requests to runs under way, or to a refusal before a byte has left.
 *
 * @module
 */
import type { Context } from "hono";
import { contextRule } from "../../engine/refuse.ts";
import { EngineError, type GenerateRequest, type Run } from "../../engine/types.ts";
import { refusalOf } from "../dialects/http_error.ts";
import { saltOf } from "./caller.ts";
import type { Env, ServedEngine } from "./env.ts";

/**
 * Submits requests of one caller, each once the one before is accepted: behind one that is refused
 * none is submitted, those before it are cancelled, and the refusal is thrown. They end when the
 * caller leaves.
 *
 * @param namesOf the engine's fields on the wire, of each request, where they differ by more than case
 * @throws {HttpError} what refused one
 */
export async function submitAll(
  c: Context<Env>,
  engine: ServedEngine,
  requests: readonly GenerateRequest[],
  namesOf: (i: number) => Readonly<Record<string, string>> | undefined,
): Promise<Run[]> {
  const { caller, signal, instance, record } = c.var;
  const { generationConfig, allowNegativePriority } = instance.options;
  const defaults = generationConfig === "auto" ? engine.model.samplingDefaults : {};
  requests.forEach(({ tokens, priority }, i) => {
    refuseTooLong(tokens, engine.maxModelLen, namesOf(i));
    if (!allowNegativePriority) refuseNegative(priority, namesOf(i));
  });
  const runs: Run[] = [];
  for (const [i, request] of requests.entries()) {
    try {
      const { id, weight } = caller;
      const whose = { caller: id, callerWeight: weight, salt: saltOf(caller, request.salt) };
      const complete = { ...defaults, ...request, ...whose, signal };
      const run = record.run((observer) => engine.generate(complete, observer));
      await run.accepted;
      runs.push(run);
    } catch (error) {
      runs.forEach((run) => run.cancel());
      throw error instanceof EngineError ? refusalOf(error, namesOf(i)) ?? error : error;
    }
  }
  return runs;
}

/** Who goes before all others of a caller is not for each request to say. */
function refuseNegative(
  priority: number | undefined,
  names: Readonly<Record<string, string>> | undefined,
): void {
  if (priority === undefined || priority >= 0) return;
  const rule = "be 0 to 1000, as this server runs without --allow-negative-priority";
  const broken = { field: "priority", rule, value: String(priority) };
  throw refusalOf(new EngineError("invalid_argument", "below 0", broken), names);
}

/** What can be seen at once: else the prompts before it would have begun. */
function refuseTooLong(
  tokens: readonly number[] | undefined,
  maxModelLen: number,
  names: Readonly<Record<string, string>> | undefined,
): void {
  if (tokens === undefined || tokens.length <= maxModelLen) return;
  const rule = contextRule(`have at most ${maxModelLen} tokens`, maxModelLen);
  const broken = { field: "tokens", rule, value: `${tokens.length} tokens` };
  throw refusalOf(new EngineError("context_length_exceeded", "too long", broken), names);
}

/**
 * The exact results of mixed requests. Run as a program it answers them one after the other, nothing
 * shared and nothing warm, and prints the results as JSON: the "alone in a fresh process" that
 * `same_bits_test.ts` compares with.
 *
 * @module
 */
import { Engine } from "../../engine/engine.ts";
import type { GenerateRequest } from "../../engine/types.ts";
import { defaultModelPath } from "../../model/default_model.ts";
import { mixedRequests } from "../bits/requests.ts";
import { onTestDevice } from "../test_device.ts";

/** Tokens and the exact bits of their log probabilities, of one sequence. */
export interface ExactResult {
  readonly tokens: number[];
  readonly logprobs: number[];
}

export async function run(engine: Engine, request: GenerateRequest): Promise<ExactResult> {
  const result: ExactResult = { tokens: [], logprobs: [] };
  for await (const chunk of engine.generate(request)) {
    result.tokens.push(...chunk.tokens);
    for (const { logprob, top } of chunk.logprobs ?? []) {
      result.logprobs.push(logprob, ...top.map((other) => other.logprob));
    }
  }
  return result;
}

if (import.meta.main) {
  await using engine = await Engine.open(await defaultModelPath(), {
    ...onTestDevice,
    enablePrefixCaching: false,
  });
  const results: ExactResult[] = [];
  for (const request of mixedRequests(Number(Deno.args[0]))) {
    results.push(await run(engine, request));
  }
  console.log(JSON.stringify(results));
}

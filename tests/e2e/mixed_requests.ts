/**
 * Thirty-two requests of mixed length and kind, and their exact results. Run as a program it answers
 * them one after the other, nothing shared and nothing warm, and prints the results as JSON: the
 * "alone in a fresh process" that `same_bits_test.ts` compares with.
 *
 * @module
 */
import { Engine } from "../../engine/engine.ts";
import type { GenerateRequest } from "../../engine/types.ts";
import { defaultModelPath } from "../../model/default_model.ts";
import { onTestDevice } from "../test_device.ts";

/** Tokens and the exact bits of their log probabilities, of one sequence. */
export interface ExactResult {
  readonly tokens: number[];
  readonly logprobs: number[];
}

/** The same requests for the same seed, in any process. */
export function mixedRequests(seed: number): GenerateRequest[] {
  // Numerical Recipes' LCG: enough to mix lengths and tokens, and the same everywhere.
  let state = seed >>> 0;
  const random = (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor(state / 2 ** 32 * below);
  };
  const lengths = [1, 2, 15, 16, 17, 31, 33, 64, 255, 256, 257, 500, 1000, 2000, 3000];
  const shared = Array.from({ length: 700 }, () => 1000 + random(40_000));
  return Array.from({ length: 32 }, (_, i) => {
    const length = lengths[i] ?? 1 + random(400);
    const fresh = Array.from({ length }, () => 1000 + random(40_000));
    const prefix = shared.slice(0, random(length));
    return {
      // Every third prompt begins like others, so that warm blocks take part.
      tokens: i % 3 === 0 ? [...prefix, ...fresh].slice(0, length) : fresh,
      maxTokens: 16 + random(64),
      temperature: i % 2 === 0 ? 0 : 0.8,
      topP: i % 4 === 1 ? 0.9 : 1,
      seed: i,
      logprobs: 2,
      ignoreEos: true,
      priority: length < 500 ? 100 : 0, // a second of waiting makes up for 1
      salt: i % 5 === 0 ? "another tenant" : "",
    };
  });
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

/**
 * Requests of many kinds on a tiny checkpoint, and their exact results.
 *
 * @module
 */
import fc from "fast-check";
import type { EngineOptions, GenerateRequest } from "../../engine/types.ts";
import { ManualEngine, type ManualRequest } from "../../engine/testing.ts";
import { checkpointPath } from "../golden/checkpoints.ts";
import { onTestDevice } from "../test_device.ts";

/**
 * The checkpoint that most tests run: fp32, unless HEARTH_TEST_CHECKPOINT names another of tests/data,
 * so that other kernels run on CUDA.
 */
export const tiny = checkpointPath(Deno.env.get("HEARTH_TEST_CHECKPOINT") ?? "llama2-fp32");

/** Ids that every tiny checkpoint has, special tokens left out. */
export const anyToken = fc.integer({ min: 10, max: 300 });

/** A prompt of so many tokens, the same for the same arguments. */
export function promptOf(length: number, seed = 1): number[] {
  return Array.from({ length }, (_, i) => 10 + (seed * 7919 + i * i * 31 + i * 17) % 290);
}

/** Requests of every kind, some with prompts that begin alike. */
export const anyRequest: fc.Arbitrary<GenerateRequest> = fc.record({
  tokens: fc.oneof(
    { weight: 3, arbitrary: fc.array(anyToken, { minLength: 1, maxLength: 70 }) },
    {
      weight: 2,
      arbitrary: fc.tuple(fc.integer({ min: 1, max: 90 }), fc.array(anyToken, { maxLength: 4 }))
        .map(([length, tail]) => [...promptOf(length), ...tail]),
    },
  ),
  maxTokens: fc.integer({ min: 1, max: 20 }),
  temperature: fc.constantFrom(0, 0.7, 1.5),
  topP: fc.constantFrom(1, 0.8),
  topK: fc.constantFrom(0, 5),
  repetitionPenalty: fc.constantFrom(1, 1.3),
  frequencyPenalty: fc.constantFrom(0, 0.5),
  seed: fc.nat(1000),
  n: fc.constantFrom(1, 1, 1, 3),
  priority: fc.integer({ min: 0, max: 2 }),
  salt: fc.constantFrom("", "another tenant"),
  logprobs: fc.constant(3),
  ignoreEos: fc.boolean(),
});

/** Everything that must be the same bits: no text of messages hides a difference. */
export function exactResult(request: ManualRequest): unknown {
  if (request.error !== undefined) throw request.error;
  return request.outputs.map(({ text, tokens, logprobs, finishReason, stopReason }) => ({
    text,
    tokens,
    logprobs,
    finishReason,
    stopReason,
  }));
}

/** Results of requests that run with nothing beside and nothing warm. */
export class AloneResults implements Disposable {
  readonly #engine: ManualEngine;
  readonly #results = new Map<GenerateRequest, unknown>();

  private constructor(engine: ManualEngine) {
    this.#engine = engine;
  }

  static async open(options: EngineOptions = {}): Promise<AloneResults> {
    return new AloneResults(
      await ManualEngine.open(tiny, {
        ...onTestDevice,
        maxModelLen: 256,
        enablePrefixCaching: false,
        ...options,
      }),
    );
  }

  of(request: GenerateRequest): unknown {
    if (!this.#results.has(request)) {
      const running = this.#engine.generate(request);
      this.#engine.runUntilIdle();
      this.#results.set(request, exactResult(running));
    }
    return this.#results.get(request);
  }

  [Symbol.dispose](): void {
    this.#engine.close();
  }
}

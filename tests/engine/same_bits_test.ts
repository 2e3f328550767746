import assert from "node:assert/strict";
import fc from "fast-check";
import { ManualEngine } from "../../engine/testing.ts";
import type { EngineOptions, GenerateRequest } from "../../engine/types.ts";
import { onTestDevice } from "../test_device.ts";
import { AloneResults, anyRequest, exactResult, promptOf, tiny } from "./requests.ts";

/** All at once, on an engine that is checked after every step. */
async function together(requests: readonly GenerateRequest[], options: EngineOptions) {
  using engine = await ManualEngine.open(tiny, { ...onTestDevice, maxModelLen: 256, ...options });
  const running = requests.map((request) => engine.generate(request));
  while (running.some(({ ended }) => !ended)) {
    engine.step();
    engine.checkIntegrity();
  }
  engine.runUntilIdle();
  const stats = engine.stats();
  assert.equal(stats.kvBlocks.held, 0);
  return { results: running.map(exactResult), stats };
}

const settings: Record<string, EngineOptions> = {
  "in a batch": {},
  "with chunks of 7 tokens": { maxNumBatchedTokens: 7 },
  "with chunks of 33 tokens": { maxNumBatchedTokens: 33 },
  "with two steps staged": { pipelineDepth: 2 },
  "with two steps staged, small chunks and few blocks": {
    pipelineDepth: 2,
    maxNumBatchedTokens: 16,
    numKvBlocks: 18,
  },
  "without warm prefixes": { enablePrefixCaching: false },
  "with blocks of 32 tokens": { blockSize: 32 },
  "three at a time": { maxNumSeqs: 3 },
};

for (const [name, options] of Object.entries(settings)) {
  Deno.test(`A request gives the same bits ${name} as alone`, async () => {
    using alone = await AloneResults.open();
    await fc.assert(
      fc.asyncProperty(
        fc.array(anyRequest, { minLength: 1, maxLength: 8 }),
        async (requests) => {
          const { results } = await together(requests, options);
          results.forEach((result, i) => assert.deepEqual(result, alone.of(requests[i]!)));
        },
      ),
      { numRuns: 12 },
    );
  });
}

for (const pipelineDepth of [1, 2]) {
  Deno.test(`Preempted requests give the same bits as alone, depth ${pipelineDepth}`, async () => {
    using alone = await AloneResults.open();
    const requests = Array.from({ length: 8 }, (_, i): GenerateRequest => ({
      tokens: promptOf(12 + 3 * i, i),
      maxTokens: 90,
      temperature: i % 2,
      seed: i,
      logprobs: 2,
      ignoreEos: true,
      salt: i % 3 === 0 ? "another tenant" : "",
    }));
    const { results, stats } = await together(requests, {
      maxModelLen: 160,
      numKvBlocks: 12,
      pipelineDepth,
    });
    assert.ok(stats.numPreemptions >= 3, `only ${stats.numPreemptions} preemptions`);
    results.forEach((result, i) =>
      assert.deepEqual(result, alone.of(requests[i]!), `request ${i}`)
    );
  });
}

Deno.test("Prompts of 1 to 200 tokens give the same bits over every chunk border", async () => {
  using alone = await AloneResults.open();
  const requests = [1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 200].map(
    (length): GenerateRequest => ({
      tokens: promptOf(length, length),
      maxTokens: 4,
      temperature: 0,
      logprobs: 5,
      promptLogprobs: 2,
      ignoreEos: true,
    }),
  );
  for (const maxNumBatchedTokens of [1, 13, 16, 50]) {
    const { results } = await together(requests, { maxNumBatchedTokens });
    results.forEach((result, i) =>
      assert.deepEqual(result, alone.of(requests[i]!), `request ${i}`)
    );
  }
});

Deno.test("A warm prefix gives the same bits as a cold one", async () => {
  using alone = await AloneResults.open();
  using engine = await ManualEngine.open(tiny, { ...onTestDevice, maxModelLen: 256 });
  const request = (length: number): GenerateRequest => ({
    tokens: promptOf(length),
    maxTokens: 12,
    temperature: 0,
    logprobs: 3,
    ignoreEos: true,
  });
  for (const [length, cached] of [[100, 0], [100, 96], [64, 48], [120, 96], [96, 80]] as const) {
    const running = engine.generate(request(length));
    engine.runUntilIdle();
    assert.equal(running.numCachedTokens, cached, `${length} tokens`);
    assert.deepEqual(exactResult(running), alone.of(request(length)), `${length} tokens`);
  }
});

Deno.test("No block is lost whatever is submitted, stepped and cancelled", async () => {
  using alone = await AloneResults.open();
  const anyCommand = fc.oneof(
    { weight: 3, arbitrary: anyRequest.map((request) => ({ kind: "submit", request }) as const) },
    { weight: 6, arbitrary: fc.constant({ kind: "step" } as const) },
    { weight: 1, arbitrary: fc.nat(20).map((index) => ({ kind: "cancel", index }) as const) },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(anyCommand, { maxLength: 60 }),
      fc.constantFrom(1, 2),
      fc.constantFrom(14, 20, 200),
      async (commands, pipelineDepth, numKvBlocks) => {
        using engine = await ManualEngine.open(tiny, {
          ...onTestDevice,
          maxModelLen: 160,
          maxNumBatchedTokens: 24,
          pipelineDepth,
          numKvBlocks,
        });
        const submitted: {
          request: GenerateRequest;
          running: ReturnType<typeof engine.generate>;
        }[] = [];
        for (const command of commands) {
          if (command.kind === "submit") {
            const { request } = command;
            submitted.push({ request, running: engine.generate(request) });
          } else if (command.kind === "step") engine.step();
          else submitted[command.index]?.running.cancel();
          engine.checkIntegrity();
        }
        engine.runUntilIdle();
        engine.checkIntegrity();
        assert.equal(engine.stats().kvBlocks.held, 0);
        for (const { request, running } of submitted) {
          assert.ok(running.ended);
          const cancelled = running.outputs.some((it) => it.finishReason === "cancelled");
          if (!cancelled) assert.deepEqual(exactResult(running), alone.of(request));
        }
      },
    ),
    { numRuns: 40 },
  );
});

Deno.test("The same seed gives the same text, another one another text", async () => {
  using engine = await ManualEngine.open(tiny, { ...onTestDevice, maxModelLen: 256 });
  const run = (seed?: number) => {
    const request = { tokens: promptOf(8), maxTokens: 20, temperature: 1.5, ignoreEos: true };
    const running = engine.generate(seed === undefined ? request : { ...request, seed });
    engine.runUntilIdle();
    return running.outputs[0]!.tokens.join();
  };
  assert.equal(run(7), run(7));
  assert.notEqual(run(7), run(8));
  assert.notEqual(run(), run());
});

import assert from "node:assert/strict";
import fc from "fast-check";
import { Ops, type SamplerInput, type SampleRowInput } from "../../ffi/ops.ts";
import { testOnEachPath } from "./paths.ts";
import { freshSeed, Random, withSeed } from "./random.ts";
import { softmax } from "./reference.ts";
import { distribution, draw, noise, philox, processLogits, ranked } from "./sampling_reference.ts";

function drawTokens(
  ops: Ops,
  logits: Float32Array<ArrayBuffer>,
  sampler: SamplerInput,
  count: number,
): number[] {
  const rows = Array.from({ length: count }, (_, outputIndex) => ({ outputIndex }));
  return ops.sample(logits, logits.length, [sampler], rows).map(({ token }) => token);
}

Deno.test("philox() of the reference gives the published vectors", () => {
  const all = 0xffffffff;
  assert.deepEqual(philox([0, 0, 0, 0], [0, 0]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
  assert.deepEqual(
    philox([all, all, all, all], [all, all]),
    [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  );
  assert.deepEqual(
    philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]),
    [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  );
});

testOnEachPath(
  "sample() draws by Philox of seed, sequence and output index",
  (path) =>
    withSeed((random) => {
      // Of equal logits the noise picks its share of the vocabulary: 16 of its bits show.
      const vocabSize = 2 ** 16;
      const logits = new Float32Array(vocabSize);
      using ops = new Ops(path);
      for (let i = 0; i < 20; i++) {
        const seed = BigInt(random.next()) << 32n | BigInt(random.next());
        const sequence = random.below(128);
        const outputIndex = random.below(100_000);
        const [sampled] = ops.sample(logits, vocabSize, [{ temperature: 1, seed, sequence }], [{
          outputIndex,
        }]);
        const share = noise(seed, sequence, outputIndex) * vocabSize;
        assert.ok(Math.abs(sampled!.token - share) <= 1, `${sampled!.token} for ${share}`);
      }
    }),
);

testOnEachPath("sample() draws what the definition draws, whatever is set", (path) => {
  using ops = new Ops(path);
  const vocabSize = 700;
  const token = fc.nat(vocabSize - 1);
  const samplers: fc.Arbitrary<SamplerInput> = fc.record({
    temperature: fc.constantFrom(0.1, 0.7, 1, 2),
    topP: fc.constantFrom(1, 0.95, 0.5, 0.01),
    minP: fc.constantFrom(0, 0, 0.05, 0.5, 1),
    topK: fc.constantFrom(0, 0, 1, 5, 40, 60, 350, 699, 5000),
    repetitionPenalty: fc.constantFrom(1, 1.3, 0.8),
    presencePenalty: fc.constantFrom(0, 1.5, -0.5),
    frequencyPenalty: fc.constantFrom(0, 0.7),
    minTokens: fc.nat(6),
    stopIds: fc.array(token, { maxLength: 3 }),
    logitBias: fc.array(fc.tuple(token, fc.constantFrom(-100, -3, 5, 100)), { maxLength: 4 })
      .map((entries) => new Map(entries)),
    badWords: fc.array(fc.array(fc.nat(9), { minLength: 1, maxLength: 3 }), { maxLength: 4 }),
    prompt: fc.array(token, { maxLength: 20 }),
    output: fc.array(fc.nat(9), { maxLength: 20 }),
    sequence: fc.nat(127),
    seed: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  });
  fc.assert(
    fc.property(samplers, fc.nat(2 ** 32 - 1), fc.nat(8), (sampler, seed, outputIndex) => {
      const logits = new Random(seed).floats(vocabSize, 3);
      const [sampled] = ops.sample(logits, vocabSize, [sampler], [{ outputIndex }]);
      // float32 fields, as the library gets them
      const exact = {
        ...sampler,
        temperature: Math.fround(sampler.temperature!),
        topP: Math.fround(sampler.topP!),
        minP: Math.fround(sampler.minP!),
      };
      const processed = processLogits(logits, exact, outputIndex);
      const probabilities = distribution(processed, exact);
      const expected = draw(probabilities, noise(sampler.seed!, sampler.sequence!, outputIndex));
      if (sampled!.token === expected.token) return;
      // Only where rounding decides, at an edge of the nucleus or between two tokens.
      const nearEdge = [1 - 1e-5, 1 + 1e-5].some((factor) => {
        const shifted = { ...exact, topP: exact.topP * factor, minP: exact.minP * factor };
        const other = distribution(processed, shifted);
        const drawn = draw(other, noise(sampler.seed!, sampler.sequence!, outputIndex));
        return drawn.token === sampled!.token || drawn.margin < 1e-5;
      });
      assert.ok(
        expected.margin < 1e-5 || nearEdge,
        `drew ${sampled!.token}, not ${expected.token} (margin ${expected.margin})`,
      );
    }),
    { seed: freshSeed() | 0, numRuns: 300 },
  );
});

testOnEachPath("sample() without temperature takes the best processed logit", (path) => {
  using ops = new Ops(path);
  const vocabSize = 300;
  const small = fc.nat(30);
  const samplers: fc.Arbitrary<SamplerInput> = fc.record({
    repetitionPenalty: fc.constantFrom(1, 2),
    presencePenalty: fc.constantFrom(0, 2, -2),
    frequencyPenalty: fc.constantFrom(0, 1, -1),
    minTokens: fc.nat(6),
    stopIds: fc.array(small, { maxLength: 10 }),
    logitBias: fc.array(fc.tuple(small, fc.constantFrom(-100, -3, 5, 100)), { maxLength: 4 })
      .map((entries) => new Map(entries)),
    badWords: fc.array(fc.array(fc.nat(2), { minLength: 1, maxLength: 3 }), { maxLength: 4 }),
    prompt: fc.array(small, { maxLength: 20 }),
    output: fc.array(fc.nat(2), { maxLength: 20 }),
  });
  fc.assert(
    fc.property(samplers, fc.nat(2 ** 32 - 1), fc.nat(8), (sampler, seed, outputIndex) => {
      // Quarters: sums are exact, and ties abound.
      const logits = new Random(seed).floats(vocabSize, 3).map((it) => Math.round(it * 4) / 4);
      logits.subarray(40).fill(-20);
      const [sampled] = ops.sample(logits, vocabSize, [sampler], [{ outputIndex }]);
      const processed = processLogits(logits, sampler, outputIndex);
      assert.equal(sampled!.token, ranked(processed)[0]);
    }),
    { seed: freshSeed() | 0, numRuns: 300 },
  );
});

testOnEachPath("sample() follows the distribution", (path) => {
  // Fixed seeds: the statistic is a number, not a chance. Its 99.9 % point for 20 degrees is 45.3.
  const logits = new Random(5).floats(21, 1.5);
  using ops = new Ops(path);
  const numDraws = 20_000;
  const tokens = drawTokens(ops, logits, { temperature: 1.3, seed: 99n }, numDraws);
  const probabilities = softmax(logits.map((it) => it / 1.3));
  let statistic = 0;
  probabilities.forEach((probability, id) => {
    const expected = probability * numDraws;
    statistic += (tokens.filter((token) => token === id).length - expected) ** 2 / expected;
  });
  assert.ok(statistic < 45.3, `chi-square is ${statistic}`);
});

testOnEachPath("sample() draws independently for each sequence and seed", (path) => {
  const logits = new Float32Array(2);
  using ops = new Ops(path);
  const numDraws = 4096;
  const bits = [[1n, 0], [1n, 1], [2n, 0]].map(([seed, sequence]) =>
    drawTokens(
      ops,
      logits,
      { temperature: 1, seed: BigInt(seed!), sequence: Number(sequence!) },
      numDraws,
    )
  );
  for (const [a, b] of [[0, 1], [0, 2], [1, 2]]) {
    const agreeing = bits[a!]!.filter((bit, i) => bit === bits[b!]![i]).length;
    // 4 deviations of a fair coin.
    assert.ok(Math.abs(agreeing - numDraws / 2) < 4 * Math.sqrt(numDraws) / 2, `${agreeing}`);
  }
});

testOnEachPath("sample() gives ties to the lowest ids", (path) => {
  const logits = new Float32Array(1000).fill(1);
  logits.set([3, 3, 3], 700);
  using ops = new Ops(path);
  assert.deepEqual(drawTokens(ops, logits, {}, 1), [700]);
  const cases: [SamplerInput, number[]][] = [
    [{ temperature: 1, topK: 2 }, [700, 701]],
    [{ temperature: 1, topK: 4 }, [0, 700, 701, 702]],
    [{ temperature: 0.05, topP: 0.6 }, [700, 701]],
    [{ temperature: 1, minP: 0.5 }, [700, 701, 702]],
  ];
  for (const [sampler, expected] of cases) {
    const tokens = new Set(drawTokens(ops, logits, { ...sampler, seed: 3n }, 400));
    assert.deepEqual([...tokens].sort((a, b) => a - b), expected);
  }
  const [sampled] = ops.sample(logits, 1000, [{}], [{ numLogprobs: 5 }]);
  assert.deepEqual(sampled!.top.map(({ token }) => token), [700, 701, 702, 0, 1]);
});

testOnEachPath("sample() cuts many equal ones at their ids, however many are left", (path) => {
  using ops = new Ops(path);
  const logits = Float32Array.from({ length: 1000 }, (_, id) => id % 2 ? 0 : -0); // all equal
  const last = (sampler: SamplerInput, numDraws: number) =>
    Math.max(...drawTokens(ops, logits, { temperature: 1, seed: 5n, ...sampler }, numDraws));
  for (const topK of [20, 100, 500]) {
    assert.equal(last({ topK }, 20 * topK), topK - 1, `top_k ${topK}`);
    assert.equal(last({ topK, topP: 0.5 }, 10 * topK), topK / 2 - 1, `half of top_k ${topK}`);
  }
  const banned = new Map(Array.from({ length: 900 }, (_, i) => [i + 100, -100]));
  assert.equal(last({ topK: 500, logitBias: banned }, 2000), 99);
});

testOnEachPath("sample() tells logprobs of the raw logits", (path) =>
  withSeed((random) => {
    for (const vocabSize of [1, 15, 256, 257, 49_152]) {
      const logits = random.floats(vocabSize, 4);
      const target = random.below(vocabSize);
      using ops = new Ops(path);
      const sampler = { temperature: 1, logitBias: new Map([[target, -100]]), topK: 3 };
      const rows: SampleRowInput[] = [
        { target, numLogprobs: 20 },
        { numLogprobs: 0 },
        { target, numLogprobs: -1 },
        { target, numLogprobs: 1 },
      ];
      const results = ops.sample(logits, vocabSize, [sampler], rows);
      const largest = logits.reduce((a, b) => Math.max(a, b));
      const sum = logits.reduce((total, logit) => total + Math.exp(logit - largest), 0);
      const logprob = (id: number) => logits[id]! - largest - Math.log(sum);
      const assertLogprob = (actual: number, id: number) => {
        const tolerance = 1e-6 + 2 ** -23 * Math.abs(logprob(id));
        assert.ok(Math.abs(actual - logprob(id)) <= tolerance, `${actual}, not ${logprob(id)}`);
      };
      const order = ranked(logits);
      for (const result of results.filter((_, i) => i !== 2)) {
        assertLogprob(result.logprob, result.token);
        assert.deepEqual(
          result.top.map(({ token }) => token),
          order.slice(0, result.top.length),
        );
        for (const { token, logprob } of result.top) assertLogprob(logprob, token);
      }
      assert.deepEqual(results.map(({ token }) => token === target), [
        true,
        vocabSize === 1,
        true,
        true,
      ]);
      assert.deepEqual(results.map(({ top }) => top.length), [Math.min(20, vocabSize), 0, 0, 1]);
      assert.ok(Number.isNaN(results[2]!.logprob), "nobody asked for it");
    }
  }));

testOnEachPath("sample() remembers what a sequence drew", (path) => {
  using ops = new Ops(path);
  const logits = Float32Array.of(5, 4, 3, 2);
  const sampler = { presencePenalty: 2, badWords: [[1, 2]] };
  // 0 and 1 fall by 2 once drawn, 2 would be next but may not follow 1.
  const tokens = drawTokens(ops, logits, { ...sampler, logitBias: new Map([[0, -1.5]]) }, 4);
  const expected: number[] = [];
  for (let i = 0; i < 4; i++) {
    const state = { ...sampler, logitBias: new Map([[0, -1.5]]), output: expected };
    expected.push(ranked(processLogits(logits, state, i))[0]!);
  }
  assert.deepEqual(tokens, expected);
  assert.deepEqual(tokens.slice(0, 2), [1, 0]);
});

testOnEachPath(
  "sample() gives a row the same result in any batch, on any number of threads",
  (path) =>
    withSeed((random) => {
      const [numRows, vocabSize] = [13, 5000];
      const logits = random.floats(numRows * vocabSize, 3);
      const samplers = Array.from({ length: numRows }, (_, i) => ({
        temperature: i % 3 / 2,
        topP: i % 2 ? 0.9 : 1,
        topK: i % 5 ? 0 : 50,
        frequencyPenalty: i % 4 ? 0 : 0.5,
        output: [1, 2, 3],
        seed: BigInt(i),
      }));
      const rows = samplers.map((_, i) => ({
        logitsRow: i,
        sampler: i,
        outputIndex: i,
        numLogprobs: i % 6,
      }));
      using ops = new Ops({ ...path, numThreads: 3 });
      const together = ops.sample(logits, vocabSize, samplers, rows);
      rows.forEach((row, i) => {
        using single = new Ops(path);
        const own = logits.slice(i * vocabSize, (i + 1) * vocabSize);
        const alone = single.sample(own, vocabSize, [samplers[i]!], [
          { ...row, logitsRow: 0, sampler: 0 },
        ]);
        assert.deepEqual(alone[0], together[i]);
      });
    }),
);

testOnEachPath(
  "sample() leaves the logits to the next sequence of the row",
  (path) =>
    withSeed((random) => {
      const logits = random.floats(1000, 3);
      const best = ranked(logits)[0]!;
      const banning = { logitBias: new Map([[best, -100]]), badWords: [[best]] };
      using ops = new Ops(path);
      const results = ops.sample(logits, 1000, [banning, {}], [
        { sampler: 0 },
        { sampler: 1 },
        { sampler: 0 },
      ]);
      assert.equal(results[1]!.token, best);
      assert.notEqual(results[0]!.token, best);
      assert.equal(results[2]!.token, results[0]!.token);
    }),
);

testOnEachPath("sample() draws token 0 where every token is banned", (path) => {
  using ops = new Ops(path);
  const logits = Float32Array.of(1, 2, 3);
  const logitBias = new Map([[0, -100], [1, -100], [2, -100]]);
  for (const temperature of [0, 1]) {
    assert.deepEqual(drawTokens(ops, logits, { temperature, logitBias }, 1), [0]);
  }
});

testOnEachPath("sample() names the row whose logits are not finite", (path) => {
  using ops = new Ops({ ...path, numThreads: 2 });
  for (const value of [NaN, Infinity, -Infinity]) {
    for (const at of [0, 255, 256, 272, 299]) {
      const logits = new Float32Array(3 * 300);
      logits[300 + at] = value;
      const rows = [0, 1, 2].map((logitsRow) => ({ logitsRow }));
      assert.throws(
        () => ops.sample(logits, 300, [{}], rows),
        /Cannot sample: the logits of row 1 must be finite/,
      );
    }
  }
});

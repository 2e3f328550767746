import assert from "node:assert/strict";
import { rope, type RopeScaling, yarnAttentionFactor } from "../../model/rope.ts";

// Expected: Transformers 5.23, ROPE_INIT_FUNCTIONS of a LlamaConfig with head_dim 16, theta 10000.
const yarn = {
  type: "yarn",
  factor: 4,
  originalMaxPosition: 512,
  betaFast: 32,
  betaSlow: 1,
  attentionFactor: undefined,
  truncate: true,
} as const;
const yarnFrequencies = [
  1,
  0.2569350600242615,
  0.0625,
  0.013834965415298939,
  0.0024999999441206455,
  0.0007905694656074047,
  0.0002500000118743628,
  7.905694656074047e-05,
];

const cases: Record<string, [scaling: RopeScaling, invFreq: number[], scale: number]> = {
  "linear": [
    { type: "linear", factor: 4 },
    [
      0.25,
      0.07905694097280502,
      0.02500000037252903,
      0.007905694656074047,
      0.0024999999441206455,
      0.0007905694656074047,
      0.0002500000118743628,
      7.905694656074047e-05,
    ],
    1,
  ],
  "llama3": [
    { type: "llama3", factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalMaxPosition: 128 },
    [
      1,
      0.3162277638912201,
      0.04275117814540863,
      0.0039528473280370235,
      0.0012499999720603228,
      0.00039528473280370235,
      0.0001250000059371814,
      3.9528473280370235e-05,
    ],
    1,
  ],
  "yarn": [yarn, yarnFrequencies, 1.138629436111989],
  "yarn with an attention factor": [{ ...yarn, attentionFactor: 1.25 }, yarnFrequencies, 1.25],
  "yarn with other borders, not rounded": [
    { ...yarn, factor: 8, betaFast: 16, betaSlow: 2, truncate: false },
    [
      1,
      0.3162277638912201,
      0.07160846143960953,
      0.007324998266994953,
      0.0012499999720603228,
      0.00039528473280370235,
      0.0001250000059371814,
      3.9528473280370235e-05,
    ],
    0.1 * Math.log(8) + 1,
  ],
};

for (const [name, [scaling, expected, scale]] of Object.entries(cases)) {
  Deno.test(`rope() agrees with Transformers: ${name}`, () => {
    const actual = rope(16, 10_000, scaling);
    assert.ok(Math.abs(actual.scale - scale) < 1e-12);
    assert.equal(actual.invFreq.length, expected.length);
    for (const [i, frequency] of expected.entries()) {
      const error = Math.abs((actual.invFreq[i] as number) / frequency - 1);
      assert.ok(error < 2e-7, `frequency ${i}: ${actual.invFreq[i]} and ${frequency}`);
    }
  });
}

Deno.test("rope() of YaRN whose borders are one jumps there, and stretches nothing by zero", () => {
  const plain = rope(16, 10_000, { type: "none" });
  const scaling = { ...yarn, betaFast: 8, betaSlow: 8, truncate: false };
  const { invFreq } = rope(16, 10_000, scaling);
  const divided = [...invFreq].map((frequency, i) => plain.invFreq[i]! / frequency);
  assert.deepEqual(divided.map((factor) => Math.round(factor)), [1, 1, 1, 4, 4, 4, 4, 4]);
  assert.ok(divided.every((factor) => Math.abs(factor - Math.round(factor)) < 1e-6));
});

Deno.test("yarnAttentionFactor() is 1 where nothing is stretched", () => {
  assert.deepEqual([0.5, 1].map((factor) => yarnAttentionFactor(factor)), [1, 1]);
  assert.equal(yarnAttentionFactor(Math.E), 1.1);
  assert.equal(yarnAttentionFactor(Math.E, 2), 1.2);
  assert.ok(yarnAttentionFactor(1.5) > 1);
});

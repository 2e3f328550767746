/**
 * Linear ops in the tensor cores' 16-bit types. The reference rounds what the definition rounds
 * (docs/decisions/0007-cuda-numerics.md); what is left between it and a kernel is fp32 arithmetic.
 */
import { type OpNorm, Ops } from "../../ffi/ops.ts";
import { assertClose, assertSameBits, poisoned } from "./assert_close.ts";
import { allRoundedTo, halfTypeOf, roundTo, tensorCoreValues } from "./half.ts";
import { testOnTensorCores } from "./paths.ts";
import { qkvBlockSize, qkvFloat64, type QkvShape, randomQkv, rowsAt } from "./qkv_reference.ts";
import { type Random, withSeed } from "./random.ts";
import * as reference from "./reference.ts";
import { integerWeight, isQuantized, type RandomWeight, randomWeight } from "./weights.ts";

const dtypes = ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1"] as const;
/** Around every border between kernels and tiles. */
const tokenCounts = [1, 2, 8, 9, 16, 17, 33, 64, 65, 130, 300];

function exact(x: Float32Array): reference.Bounded {
  return { values: Float64Array.from(x), bounds: new Float64Array(x.length) };
}

function randomNorm(random: Random, kind: OpNorm["kind"], cols: number): OpNorm {
  const weight = random.floats(cols).map((value) => 1 + 0.3 * value);
  const norm = { kind, eps: 1e-5, weight };
  return kind === "layer" ? { ...norm, bias: random.floats(cols, 0.3) } : norm;
}

/** Half of the shapes fill the tiles of every kernel, the others none. */
function randomShape(random: Random, dtype: RandomWeight["dtype"]) {
  if (random.below(2) === 0) {
    return { rows: 64 * random.between(1, 3), cols: 64 * random.between(1, 6) };
  }
  const cols = isQuantized(dtype) ? 32 * random.between(1, 12) : random.between(1, 400);
  return { rows: random.between(1, 200), cols };
}

function product(
  input: reference.Bounded,
  weight: RandomWeight,
  added: { readonly bias?: Float32Array | undefined; readonly residual?: Float32Array | undefined },
): reference.Bounded {
  return reference.linear(input, tensorCoreValues(weight), weight.cols, {
    rounding: halfTypeOf(weight.dtype),
    ...added,
  });
}

for (const dtype of dtypes) {
  testOnTensorCores(
    `linear() on tensor cores matches float64: ${dtype}`,
    (path) =>
      withSeed((random) => {
        for (const numTokens of tokenCounts) {
          const { rows, cols } = randomShape(random, dtype);
          const weight = randomWeight(random, dtype, rows, cols);
          const x = random.floats(numTokens * cols, 3);
          const kind = [undefined, "rms", "layer"] as const;
          const normKind = kind[random.below(3)];
          const norm = normKind && randomNorm(random, normKind, cols);
          const bias = random.below(2) === 1 ? random.floats(rows) : undefined;
          const residual = random.below(2) === 1 ? random.floats(numTokens * rows) : undefined;
          using ops = new Ops({ ...path, activationDtype: "fp16" });
          const out = poisoned(numTokens * rows);
          ops.linear(weight, x, out, { norm, bias, residual });
          const input = norm === undefined ? exact(x) : reference.norm(exact(x), norm);
          const { values, bounds } = product(input, weight, { bias, residual });
          assertClose(out, values, bounds, `${numTokens} x ${cols} to ${rows}, ${normKind}`);
        }
      }),
  );

  testOnTensorCores(
    `linear() on tensor cores adds every column once: ${dtype}`,
    (path) =>
      withSeed((random) => {
        // Sums of small integers are exact in any order.
        for (
          const [rows, cols] of [[48, 13824], [100, 5120], [13824, 128], [1040, 1056]] as const
        ) {
          for (const numTokens of [1, 16, 70]) {
            const weight = integerWeight(random, dtype, rows, cols);
            const x = Float32Array.from({ length: numTokens * cols }, () => random.between(-2, 2));
            using ops = new Ops({ ...path, activationDtype: "fp16" });
            const out = poisoned(numTokens * rows);
            ops.linear(weight, x, out);
            const { values } = product(exact(x), weight, {});
            assertSameBits(out, Float32Array.from(values), `${numTokens} x ${cols} to ${rows}`);
          }
        }
      }),
  );
}

testOnTensorCores(
  "linear() over fp32 weights stays exact beside tensor cores",
  (path) =>
    withSeed((random) => {
      for (const numTokens of [1, 17, 130]) {
        const { rows, cols } = randomShape(random, "F32");
        const weight = randomWeight(random, "F32", rows, cols);
        const x = random.floats(numTokens * cols);
        const [out, expected] = [poisoned(numTokens * rows), poisoned(numTokens * rows)];
        using ops = new Ops({ ...path, activationDtype: "fp16" });
        ops.linear(weight, x, out);
        using exactly = new Ops(path);
        exactly.linear(weight, x, expected);
        assertSameBits(out, expected, `${numTokens} x ${cols} to ${rows}`);
      }
    }),
);

for (const operandOutputs of [false, true]) {
  const how = operandOutputs ? "writes operands that match float64" : "matches float64";
  testOnTensorCores(`gateUp() on tensor cores ${how}`, (path) =>
    withSeed((random) => {
      for (const activation of ["silu", "gelu_tanh", "relu", "gelu"] as const) {
        for (const dtype of dtypes) {
          for (const hasGate of [true, false]) {
            const { rows, cols } = randomShape(random, dtype);
            const numTokens = tokenCounts[random.below(tokenCounts.length)]!;
            const up = randomWeight(random, dtype, rows, cols);
            const gate = hasGate ? randomWeight(random, dtype, rows, cols) : undefined;
            const x = random.floats(numTokens * cols, 2);
            const norm = randomNorm(random, random.below(2) === 1 ? "rms" : "layer", cols);
            const upBias = random.below(2) === 1 ? random.floats(rows) : undefined;
            const gateBias = upBias && gate && random.floats(rows);
            using ops = new Ops({ ...path, activationDtype: "fp16", operandOutputs });
            const out = poisoned(numTokens * rows);
            ops.gateUp(up, x, out, { activation, gate, gateBias, upBias, norm });

            const input = reference.norm(exact(x), norm);
            const gated = reference.gated(
              gate && product(input, gate, { bias: gateBias }),
              product(input, up, { bias: upBias }),
              activation,
            );
            const { values, bounds } = operandOutputs
              ? reference.roundBounded(halfTypeOf(dtype), gated)
              : gated;
            const what = `${activation} ${dtype} ${hasGate}: ${numTokens} x ${cols} to ${rows}`;
            assertClose(out, values, bounds, what);
          }
        }
      }
    }));
}

const qkvShapes: Readonly<Record<string, QkvShape>> = {
  "Llama": { numHeads: 6, numKvHeads: 2, headDim: 64, ropeDim: 64, ropeStyle: "half" },
  "Llama 2 13B's heads": {
    numHeads: 3,
    numKvHeads: 3,
    headDim: 128,
    ropeDim: 128,
    ropeStyle: "half",
  },
  "GGUF's pairs": {
    numHeads: 4,
    numKvHeads: 4,
    headDim: 48,
    ropeDim: 48,
    ropeStyle: "interleaved",
  },
  "Qwen2's biases": {
    numHeads: 3,
    numKvHeads: 1,
    headDim: 36,
    ropeDim: 36,
    ropeStyle: "half",
    biased: true,
  },
  "Qwen2's biases in heads of 64, scaled": {
    numHeads: 7,
    numKvHeads: 1,
    headDim: 64,
    ropeDim: 64,
    ropeStyle: "half",
    ropeScale: 1.2,
    biased: true,
  },
  "Qwen3's head norms": {
    numHeads: 4,
    numKvHeads: 2,
    headDim: 80,
    ropeDim: 80,
    ropeStyle: "half",
    headNorms: true,
  },
  "part of a head of 256, scaled": {
    numHeads: 2,
    numKvHeads: 1,
    headDim: 256,
    ropeDim: 64,
    ropeStyle: "half",
    ropeScale: 1.2,
  },
  "no RoPE": {
    numHeads: 5,
    numKvHeads: 5,
    headDim: 96,
    ropeDim: 0,
    ropeStyle: "half",
    biased: true,
  },
};

for (const [name, shape] of Object.entries(qkvShapes)) {
  testOnTensorCores(
    `qkv() on tensor cores matches float64: ${name}`,
    (path) =>
      withSeed((random) => {
        for (const dtype of dtypes) {
          for (const numTokens of [1, 3, 9, 17, 70]) {
            const input = randomQkv(random, shape, dtype, numTokens);
            const half = halfTypeOf(dtype);
            const kvSize = input.numKvHeads * input.headDim;
            const before = random.floats(input.numBlocks * qkvBlockSize * kvSize);
            const untouched = allRoundedTo(half, before);
            const [k, v] = [untouched.slice(), untouched.slice()];
            const q = poisoned(numTokens * input.numHeads * input.headDim);
            using ops = new Ops({ ...path, activationDtype: "fp16", kvCacheDtype: half });
            ops.qkv(input, q, k, v);

            const what = `${dtype}, ${numTokens} tokens`;
            const expected = qkvFloat64(input, half);
            assertClose(q, expected.q.values, expected.q.bounds, `${what}: q`);
            const others = Int32Array.from(
              [...Array(input.numBlocks * qkvBlockSize).keys()].filter((slot) =>
                !input.slots.includes(slot)
              ),
            );
            const caches = [["k", k, expected.k], ["v", v, expected.v]] as const;
            for (const [part, cache, unrounded] of caches) {
              const { values, bounds } = reference.roundBounded(half, unrounded);
              assertClose(rowsAt(cache, input.slots, kvSize), values, bounds, `${what}: ${part}`);
              const [now, then] = [
                rowsAt(cache, others, kvSize),
                rowsAt(untouched, others, kvSize),
              ];
              assertSameBits(now, then, `${what}: slots of others in ${part}`);
            }
          }
        }
      }),
  );
}

testOnTensorCores(
  "embed() beside tensor cores is that of the exact mode",
  (path) =>
    withSeed((random) => {
      for (const dtype of dtypes) {
        const { rows, cols } = randomShape(random, dtype);
        const table = randomWeight(random, dtype, rows, cols);
        const ids = Int32Array.from({ length: 40 }, () => random.below(rows));
        const [out, expected] = [poisoned(40 * cols), poisoned(40 * cols)];
        using ops = new Ops({ ...path, activationDtype: "fp16" });
        ops.embed(table, ids, out);
        using exactly = new Ops(path);
        exactly.embed(table, ids, expected);
        assertSameBits(out, expected, dtype);
      }
    }),
);

Deno.test("roundTo() rounds to bf16 as the bits of floats say", () => {
  const view = new DataView(new ArrayBuffer(4));
  const fromBits = (bits: number) => {
    view.setUint32(0, bits);
    return view.getFloat32(0);
  };
  const cases: [number, number][] = [
    [0x3f800000, 0x3f800000],
    [0x3f808000, 0x3f800000], // a tie goes to even
    [0x3f818000, 0x3f820000],
    [0x3f808001, 0x3f810000],
    [0xbf807fff, 0xbf800000],
    [0x00018000, 0x00020000], // subnormal
    [0x42ff8000, 0x43000000], // up into the next power of two
  ];
  for (const [bits, rounded] of cases) {
    if (roundTo("bf16", fromBits(bits)) !== fromBits(rounded)) throw new Error(bits.toString(16));
  }
});

import assert from "node:assert/strict";
import { type OpNorm, Ops } from "../../ffi/ops.ts";
import { assertClose, assertSameBits, poisoned } from "./assert_close.ts";
import { activationDTypesOf, testOnEachCpuPath, testOnEachPath } from "./paths.ts";
import { type Random, withSeed } from "./random.ts";
import * as reference from "./reference.ts";
import { isQuantized, type RandomWeight, randomWeight, weightDTypes } from "./weights.ts";

function exact(x: Float32Array): reference.Bounded {
  return { values: Float64Array.from(x), bounds: new Float64Array(x.length) };
}

function randomNorm(random: Random, kind: OpNorm["kind"], cols: number, biased: boolean): OpNorm {
  return {
    kind,
    eps: 1e-5,
    weight: random.floats(cols).map((value) => 1 + 0.3 * value),
    ...(biased ? { bias: random.floats(cols, 0.3) } : {}),
  };
}

/** Rows that the kernels' tiles do not divide, columns that only quantized weights need by 32. */
function randomShape(random: Random, dtype: RandomWeight["dtype"]) {
  const rows = random.between(1, 150);
  const cols = isQuantized(dtype) ? 32 * random.between(1, 12) : random.between(1, 400);
  return { rows, cols };
}

function rounding(weight: RandomWeight, activationDtype: "fp32" | "int8") {
  return activationDtype === "int8" && isQuantized(weight.dtype) ? "int8" : "none";
}

for (const dtype of weightDTypes) {
  for (const activationDtype of ["fp32", "int8"] as const) {
    (activationDtype === "int8" ? testOnEachCpuPath : testOnEachPath)(
      `linear() matches float64: ${dtype}, ${activationDtype}`,
      (path) =>
        withSeed((random) => {
          for (const numTokens of [1, 3, 33, 70]) {
            const { rows, cols } = randomShape(random, dtype);
            const weight = randomWeight(random, dtype, rows, cols);
            const x = random.floats(numTokens * cols, 3);
            const norm = numTokens % 2 === 0 ? randomNorm(random, "rms", cols, false) : undefined;
            const bias = random.floats(rows);
            const residual = random.below(2) === 1 ? random.floats(numTokens * rows) : undefined;
            using ops = new Ops({ ...path, activationDtype, numThreads: random.between(1, 3) });
            const out = poisoned(numTokens * rows);
            ops.linear(weight, x, out, { norm, bias, residual });

            const input = norm === undefined ? exact(x) : reference.norm(exact(x), norm);
            const mode = rounding(weight, activationDtype);
            const { values, bounds } = reference.linear(input, weight.values, cols, {
              rounding: mode,
              bias,
              residual,
            });
            assertClose(out, values, bounds, `${numTokens} x ${cols} to ${rows}`);
          }
        }),
    );
  }
}

testOnEachCpuPath(
  "linear() rounds int8 activations as well as int8 can",
  (path) =>
    withSeed((random) => {
      // The bound of the test above is the worst case; errors of single values cancel, and their
      // deviation is that of a rounding to steps of the group's scale.
      const [numTokens, rows, cols] = [16, 64, 576];
      const weight = randomWeight(random, "Q8_0", rows, cols);
      const x = random.floats(numTokens * cols);
      using ops = new Ops({ ...path, activationDtype: "int8" });
      const out = poisoned(numTokens * rows);
      ops.linear(weight, x, out);
      const { values } = reference.linear(exact(x), weight.values, cols, { rounding: "none" });

      let error = 0;
      let expected = 0;
      for (let t = 0; t < numTokens; t++) {
        for (let r = 0; r < rows; r++) {
          error += (out[t * rows + r]! - values[t * rows + r]!) ** 2;
          for (let i = 0; i < cols; i++) {
            const group = x.subarray(t * cols + i - i % 32, t * cols + i - i % 32 + 32);
            const step = Math.max(...group.map(Math.abs)) / 127;
            expected += (weight.values[r * cols + i]! * step) ** 2 / 12;
          }
        }
      }
      const ratio = Math.sqrt(error / expected);
      assert.ok(ratio > 0.8 && ratio < 1.2, `deviation is ${ratio} of a rounding's`);
    }),
);

testOnEachPath(
  "linear() gives a row the same bits in any batch, on any number of threads",
  (path) =>
    withSeed((random) => {
      for (const dtype of weightDTypes) {
        for (const activationDtype of activationDTypesOf(path)) {
          const numTokens = 71;
          const { rows, cols } = randomShape(random, dtype);
          const weight = randomWeight(random, dtype, rows, cols);
          const x = random.floats(numTokens * cols);
          const norm = randomNorm(random, "rms", cols, false);
          const together = poisoned(numTokens * rows);
          using ops = new Ops({ ...path, activationDtype });
          ops.linear(weight, x, together, { norm });
          for (
            const [first, count, numThreads] of [[0, 71, 3], [5, 1, 1], [40, 1, 2], [17, 37, 2]]
          ) {
            using again = new Ops({ ...path, activationDtype, numThreads: numThreads! });
            const part = poisoned(count! * rows);
            again.linear(weight, x.slice(first! * cols, (first! + count!) * cols), part, { norm });
            const expected = together.slice(first! * rows, (first! + count!) * rows);
            assertSameBits(part, expected, `${dtype} ${activationDtype}: ${count} from ${first}`);
          }
        }
      }
    }),
);

testOnEachPath("gateUp() matches float64", (path) =>
  withSeed((random) => {
    for (const activation of ["silu", "gelu_tanh", "relu", "gelu"] as const) {
      for (const hasGate of [true, false]) {
        const dtype = weightDTypes[random.below(weightDTypes.length)]!;
        const activationDTypes = activationDTypesOf(path);
        const activationDtype = activationDTypes[random.below(activationDTypes.length)]!;
        const { rows, cols } = randomShape(random, dtype);
        const numTokens = random.between(1, 40);
        const up = randomWeight(random, dtype, rows, cols);
        const gate = hasGate ? randomWeight(random, dtype, rows, cols) : undefined;
        const x = random.floats(numTokens * cols, 2);
        const norm = randomNorm(random, "layer", cols, true);
        const upBias = random.floats(rows);
        const gateBias = hasGate ? random.floats(rows) : undefined;
        using ops = new Ops({ ...path, activationDtype, numThreads: 2 });
        const out = poisoned(numTokens * rows);
        ops.gateUp(up, x, out, { activation, gate, gateBias, upBias, norm });

        const input = reference.norm(exact(x), norm);
        const product = (weight: RandomWeight, bias: Float32Array | undefined) =>
          reference.linear(input, weight.values, cols, {
            rounding: rounding(weight, activationDtype),
            bias,
          });
        const { values, bounds } = reference.gated(
          gate && product(gate, gateBias),
          product(up, upBias),
          activation,
        );
        assertClose(out, values, bounds, `${activation} ${dtype} ${activationDtype} ${hasGate}`);
      }
    }
  }));

testOnEachPath("norm() matches float64", (path) =>
  withSeed((random) => {
    for (const kind of ["rms", "layer"] as const) {
      for (const cols of [1, 20, 64, 577]) {
        const numTokens = random.between(1, 40);
        const norm = randomNorm(random, kind, cols, kind === "layer");
        const x = random.floats(numTokens * cols, 10 ** random.between(-2, 2));
        using ops = new Ops({ ...path, numThreads: 2 });
        const out = poisoned(x.length);
        ops.norm(norm, x, out);
        const { values, bounds } = reference.norm(exact(x), norm);
        assertClose(out, values, bounds, `${kind} of ${cols}`);
      }
    }
  }));

testOnEachPath(
  "embed() copies rows of the table exactly and adds positions",
  (path) =>
    withSeed((random) => {
      for (const dtype of weightDTypes) {
        const { rows, cols } = randomShape(random, dtype);
        const numTokens = random.between(1, 50);
        const table = randomWeight(random, dtype, rows, cols);
        const positionTable = randomWeight(random, dtype, 20, cols);
        const draw = (bound: number) =>
          Int32Array.from({ length: numTokens }, () => random.below(bound));
        const ids = draw(rows);
        const positions = { weight: positionTable, offset: 2, ids: draw(18) };
        using ops = new Ops({ ...path, numThreads: 2 });
        const plain = poisoned(numTokens * cols);
        ops.embed(table, ids, plain);
        const placed = poisoned(numTokens * cols);
        ops.embed(table, ids, placed, positions);
        for (let t = 0; t < numTokens; t++) {
          for (let i = 0; i < cols; i++) {
            const value = Math.fround(table.values[ids[t]! * cols + i]!);
            const added = Math.fround(positionTable.values[(positions.ids[t]! + 2) * cols + i]!);
            // Scale times quant is rounded before Q4_1's minimum is added.
            const slack = dtype === "Q4_1" ? 2 ** -22 : 0;
            const at = t * cols + i;
            assert.ok(
              Math.abs(plain[at]! - value) <= slack,
              `${dtype} ${at}: ${plain[at]} ${value}`,
            );
            const sum = Math.fround(plain[at]! + added);
            assert.ok(Math.abs(placed[at]! - sum) <= slack, `${dtype} ${at}: ${placed[at]} ${sum}`);
          }
        }
      }
    }),
);

testOnEachPath("gather() copies the rows whose logits are wanted", (path) =>
  withSeed((random) => {
    const [numTokens, cols] = [50, 33];
    const x = random.floats(numTokens * cols);
    using ops = new Ops({ ...path, numThreads: 2 });
    for (const count of [1, 7, numTokens]) {
      const indices = random.permutation(numTokens).slice(0, count).sort((a, b) => a - b);
      const out = poisoned(count * cols);
      ops.gather(cols, Int32Array.from(indices), x, out);
      const expected = indices.flatMap((index) => [...x.slice(index * cols, (index + 1) * cols)]);
      assertSameBits(out, Float32Array.from(expected), `${count} rows`);
    }
  }));

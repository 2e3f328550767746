import { Ops } from "../../ffi/ops.ts";
import { assertClose, assertSameBits, poisoned } from "./assert_close.ts";
import { toHalf } from "./paged_kv.ts";
import { testOnEachPath } from "./paths.ts";
import {
  qkvBlockSize as blockSize,
  qkvFloat64,
  type QkvShape,
  randomQkv,
  rowsAt,
} from "./qkv_reference.ts";
import { withSeed } from "./random.ts";
import { weightDTypes } from "./weights.ts";

const cases: Readonly<Record<string, QkvShape>> = {
  "Llama": { numHeads: 6, numKvHeads: 2, headDim: 64, ropeDim: 64, ropeStyle: "half" },
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
  "Qwen3's head norms": {
    numHeads: 4,
    numKvHeads: 2,
    headDim: 20,
    ropeDim: 20,
    ropeStyle: "half",
    headNorms: true,
  },
  "part of a head, scaled": {
    numHeads: 2,
    numKvHeads: 2,
    headDim: 80,
    ropeDim: 32,
    ropeStyle: "half",
    ropeScale: 1.2,
  },
  "no RoPE": { numHeads: 5, numKvHeads: 5, headDim: 24, ropeDim: 0, ropeStyle: "half" },
};

for (const [name, shape] of Object.entries(cases)) {
  testOnEachPath(`qkv() matches float64: ${name}`, (path) =>
    withSeed((random) => {
      for (const numTokens of [1, 7, 90]) {
        const dtype = weightDTypes[random.below(weightDTypes.length)]!;
        const input = randomQkv(random, shape, dtype, numTokens);
        const kvSize = input.numKvHeads * input.headDim;
        const before = random.floats(input.numBlocks * blockSize * kvSize);
        const half = numTokens !== 7;
        const k = half ? toHalf(before) : before.slice();
        const v = k.slice();
        const q = poisoned(numTokens * input.numHeads * input.headDim);
        using ops = new Ops({ ...path, kvCacheDtype: half ? "fp16" : "fp32", numThreads: 2 });
        ops.qkv(input, q, k, v);

        const expected = qkvFloat64(input);
        assertClose(q, expected.q.values, expected.q.bounds, "q");
        for (
          const [what, cache, { values, bounds }] of [
            ["k", k, expected.k],
            ["v", v, expected.v],
          ] as const
        ) {
          const rounded = bounds.map((bound, i) =>
            bound + (half ? Math.abs(values[i]!) * 2 ** -11 + 2 ** -25 : 0)
          );
          assertClose(rowsAt(cache, input.slots, kvSize), values, rounded, what);
        }
        // Slots of other tokens keep what they had.
        const untouched = half ? toHalf(before) : before;
        const own = new Set(input.slots);
        const others = Int32Array.from(
          [...Array(input.numBlocks * blockSize).keys()].filter((slot) => !own.has(slot)),
        );
        for (const cache of [k, v]) {
          const [now, then] = [rowsAt(cache, others, kvSize), rowsAt(untouched, others, kvSize)];
          assertSameBits(now, then, "slots of others");
        }
      }
    }));
}

testOnEachPath("qkv() gives a token the same bits in any batch", (path) =>
  withSeed((random) => {
    const shape = cases["Qwen3's head norms"]!;
    const numTokens = 85;
    const dtype = weightDTypes[random.below(weightDTypes.length)]!;
    const input = randomQkv(random, shape, dtype, numTokens);
    const [qSize, kvSize] = [input.numHeads, input.numKvHeads].map((it) => it * input.headDim);
    const hidden = input.wq.cols;
    const cache = () => new Float32Array(input.numBlocks * blockSize * kvSize!);
    const [q, k, v] = [poisoned(numTokens * qSize!), cache(), cache()];
    using ops = new Ops({ ...path, numThreads: 3 });
    ops.qkv(input, q, k, v);
    for (const [first, count] of [[0, 1], [84, 1], [30, 40]] as const) {
      const end = first + count;
      const part = {
        ...input,
        positions: input.positions.slice(first, end),
        slots: input.slots.slice(first, end),
        x: input.x.slice(first * hidden, end * hidden),
      };
      const [q2, k2, v2] = [poisoned(count * qSize!), cache(), cache()];
      using alone = new Ops(path);
      alone.qkv(part, q2, k2, v2);
      assertSameBits(q2, q.slice(first * qSize!, end * qSize!), `q of ${first} to ${end}`);
      for (const [what, now, then] of [["k", k2, k], ["v", v2, v]] as const) {
        const [a, b] = [rowsAt(now, part.slots, kvSize!), rowsAt(then, part.slots, kvSize!)];
        assertSameBits(a, b, `${what} of ${first} to ${end}`);
      }
    }
  }));

import assert from "node:assert/strict";
import { type OpContext, Ops } from "../../ffi/ops.ts";
import { assertClose, assertSameBits, poisoned } from "./assert_close.ts";
import { attentionFloat64 } from "./attention_reference.ts";
import { type PagedShape, randomPagedKv, slotOf, toHalf } from "./paged_kv.ts";
import { testOnEachPath } from "./paths.ts";
import { type Random, withSeed } from "./random.ts";

const heads = { numHeads: 6, numKvHeads: 2, headDim: 64 };
const base = { ...heads, blockSize: 16, window: 0 } as const;

function one(context: number, queries: number) {
  return [{ context, queries }];
}

/** Contexts of a decode batch, and a prefill chunk among them. */
const mixed = [
  { context: 1, queries: 1 },
  { context: 300, queries: 1 },
  { context: 77, queries: 60 },
  { context: 128, queries: 1 },
  { context: 129, queries: 129 },
  { context: 17, queries: 2 },
];

const cases: Readonly<Record<string, PagedShape & Pick<OpContext, "blockSize">>> = {
  "the first token": { ...base, sequences: one(1, 1) },
  "a block just full": { ...base, sequences: one(16, 1) },
  "a block just begun": { ...base, sequences: one(17, 1) },
  "a chunk just full": { ...base, sequences: one(128, 128) },
  "a prompt over several chunks": { ...base, sequences: one(300, 300) },
  "the end of a long prompt": { ...base, sequences: one(700, 40) },
  "a long decode": { ...base, sequences: one(2000, 1) },
  "a mixed batch": { ...base, sequences: mixed },
  "blocks of 32": { ...base, blockSize: 32, sequences: mixed },
  "blocks of 64": { ...base, blockSize: 64, sequences: mixed },
  "head_dim 20, one KV head": {
    ...base,
    numHeads: 5,
    numKvHeads: 1,
    headDim: 20,
    sequences: mixed,
  },
  "head_dim 2": { ...base, numHeads: 3, numKvHeads: 3, headDim: 2, sequences: mixed },
  "head_dim 80, no groups": {
    ...base,
    numHeads: 3,
    numKvHeads: 3,
    headDim: 80,
    sequences: one(140, 30),
  },
  "head_dim 256": { ...base, numHeads: 2, numKvHeads: 1, headDim: 256, sequences: one(40, 9) },
  "14 heads a group": { ...base, numHeads: 14, numKvHeads: 1, sequences: mixed },
  "a window of 1": { ...base, window: 1, sequences: one(150, 150) },
  "a window of 40": { ...base, window: 40, sequences: mixed },
  "a window over chunks": { ...base, window: 200, sequences: one(500, 100) },
};

for (const [name, shape] of Object.entries(cases)) {
  testOnEachPath(`attention() matches float64: ${name}`, (path) =>
    withSeed((random) => {
      for (const kvCacheDtype of ["fp32", "fp16"] as const) {
        const drawn = randomPagedKv(random, shape);
        const half = kvCacheDtype === "fp16";
        const input = half ? { ...drawn, k: toHalf(drawn.k), v: toHalf(drawn.v) } : drawn;
        const { blockSize } = shape;
        using ops = new Ops({ ...path, kvCacheDtype, blockSize, numThreads: random.between(1, 3) });
        const out = poisoned(input.q.length);
        ops.attention(input, out);
        const { values, bounds } = attentionFloat64(input, blockSize);
        assertClose(out, values, bounds, kvCacheDtype);
      }
    }));
}

testOnEachPath("attention() stays exact where scores are large", (path) =>
  withSeed((random) => {
    // One token's score is far above the others': the result is its V.
    const input = randomPagedKv(random, { ...base, sequences: one(400, 1) });
    const { numHeads, numKvHeads, headDim } = input;
    const slot = slotOf(input, 16, 0, random.below(400));
    for (let head = 0; head < numHeads; head++) {
      const kvHead = Math.floor(head / (numHeads / numKvHeads));
      const k = input.k.subarray((slot * numKvHeads + kvHead) * headDim).subarray(0, headDim);
      input.q.set(k.map((value) => value * 1000), head * headDim);
    }
    using ops = new Ops(path);
    const out = poisoned(input.q.length);
    ops.attention(input, out);
    for (let head = 0; head < numHeads; head++) {
      const kvHead = Math.floor(head / (numHeads / numKvHeads));
      const at = (slot * numKvHeads + kvHead) * headDim;
      const expected = input.v.slice(at, at + headDim);
      assertSameBits(out.slice(head * headDim, (head + 1) * headDim), expected, `head ${head}`);
    }
  }));

/** The tokens of a sequence as chunks of random sizes. */
function* randomChunks(random: Random, numTokens: number, largest: number) {
  for (let first = 0; first < numTokens;) {
    const count = Math.min(random.between(1, largest), numTokens - first);
    yield { first, count };
    first += count;
  }
}

testOnEachPath(
  "attention() gives a token the same bits in any chunk, batch and plan",
  (path) =>
    withSeed((random) => {
      for (const window of [0, 150]) {
        for (const kvCacheDtype of ["fp32", "fp16"] as const) {
          const context = random.between(260, 420);
          const shape = { ...base, window, sequences: one(context, context) };
          const input = randomPagedKv(random, shape);
          const size = input.numHeads * input.headDim;
          using whole = new Ops({ ...path, kvCacheDtype });
          const together = poisoned(input.q.length);
          whole.attention(input, together);

          for (const largest of [1, 60]) {
            for (const { first, count } of randomChunks(random, context, largest)) {
              if (largest === 1 && first % 7 !== 0) continue; // each seventh decode
              using ops = new Ops({ ...path, kvCacheDtype, numThreads: random.between(1, 4) });
              const end = first + count;
              const part = poisoned(count * size);
              const chunk = {
                ...input,
                queryStart: Int32Array.of(0, count),
                contextLens: Int32Array.of(end),
                q: input.q.slice(first * size, end * size),
              };
              ops.attention(chunk, part);
              const expected = together.slice(first * size, end * size);
              assertSameBits(part, expected, `${kvCacheDtype} window ${window} ${first} to ${end}`);
            }
          }
        }
      }
    }),
);

testOnEachPath(
  "attention() gives a sequence the same bits beside others",
  (path) =>
    withSeed((random) => {
      const input = randomPagedKv(random, { ...base, sequences: mixed });
      const size = input.numHeads * input.headDim;
      using ops = new Ops({ ...path, numThreads: 3 });
      const together = poisoned(input.q.length);
      ops.attention(input, together);
      mixed.forEach(({ context, queries }, s) => {
        const first = input.queryStart[s]!;
        const { maxBlocks } = input;
        const alone = {
          ...input,
          queryStart: Int32Array.of(0, queries),
          contextLens: Int32Array.of(context),
          blockTable: input.blockTable.slice(s * maxBlocks, (s + 1) * maxBlocks),
          q: input.q.slice(first * size, (first + queries) * size),
        };
        using single = new Ops(path);
        const out = poisoned(queries * size);
        single.attention(alone, out);
        assertSameBits(out, together.slice(first * size, (first + queries) * size), `${s}`);
      });
    }),
);

testOnEachPath("a step copies blocks before anything reads them", (path) =>
  withSeed((random) => {
    const input = randomPagedKv(random, { ...base, sequences: one(40, 1) });
    using ops = new Ops(path);
    const expected = poisoned(input.q.length);
    ops.attention(input, expected);

    const used = input.blockTable.slice(0, 3);
    const unused = [...Array(input.numBlocks).keys()].filter((block) => !used.includes(block));
    const copied = unused[0]!;
    const blockTable = input.blockTable.slice();
    blockTable[1] = copied;
    const out = poisoned(input.q.length);
    ops.attention({ ...input, blockTable, copies: Int32Array.of(used[1]!, copied) }, out);
    assertSameBits(out, expected, "through the copy");
  }));

testOnEachPath(
  "attention() refuses block tables that lead out of the cache",
  (path) =>
    withSeed((random) => {
      const input = randomPagedKv(random, { ...base, sequences: one(40, 1) });
      input.blockTable[1] = input.numBlocks;
      using ops = new Ops(path);
      assert.throws(
        () => ops.attention(input, poisoned(input.q.length)),
        /block_table must be 0 to \d+: current value is \d+/,
      );
    }),
);

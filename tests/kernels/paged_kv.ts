/**
 * Random sequences over a KV cache whose blocks lie in random order.
 *
 * @module
 */
import type { AttentionInput, AttentionSizes } from "../../ffi/ops.ts";
import type { Random } from "./random.ts";

/** What a test chooses; the rest is drawn. */
export interface PagedShape extends Omit<AttentionSizes, "numBlocks"> {
  readonly blockSize: number;
  readonly window: number;
  /** Of each sequence: its context, and how many of its last tokens are queries. */
  readonly sequences: readonly { readonly context: number; readonly queries: number }[];
}

/** Block tables are shuffled, and slots that belong to nobody hold NaN. */
export function randomPagedKv(random: Random, shape: PagedShape): AttentionInput {
  const { blockSize, sequences } = shape;
  const rowSize = shape.numKvHeads * shape.headDim;
  const blocksOf = (context: number) => Math.ceil(context / blockSize);
  const needed = sequences.reduce((sum, { context }) => sum + blocksOf(context), 0);
  const numBlocks = needed + 3;
  const maxBlocks = Math.max(...sequences.map(({ context }) => blocksOf(context))) + 1;
  const freeBlocks = random.permutation(numBlocks);
  const blockTable = new Int32Array(sequences.length * maxBlocks).fill(-1);
  const queryStart = new Int32Array(sequences.length + 1);
  const k = new Float32Array(numBlocks * blockSize * rowSize).fill(NaN);
  const v = k.slice();
  sequences.forEach(({ context, queries }, s) => {
    queryStart[s + 1] = queryStart[s]! + queries;
    for (let i = 0; i < blocksOf(context); i++) blockTable[s * maxBlocks + i] = freeBlocks.pop()!;
    for (let position = 0; position < context; position++) {
      const block = blockTable[s * maxBlocks + Math.floor(position / blockSize)]!;
      const slot = block * blockSize + position % blockSize;
      k.set(random.floats(rowSize), slot * rowSize);
      v.set(random.floats(rowSize), slot * rowSize);
    }
  });
  const { numHeads, numKvHeads, headDim, window } = shape;
  return {
    numHeads,
    numKvHeads,
    headDim,
    numBlocks,
    window,
    scale: 1 / Math.sqrt(headDim),
    queryStart,
    contextLens: Int32Array.from(sequences, ({ context }) => context),
    blockTable,
    maxBlocks,
    q: random.floats(queryStart.at(-1)! * numHeads * headDim, 2),
    k,
    v,
  };
}

/** Where the K and V of a sequence's position lie, in rows of the cache. */
export function slotOf(
  input: AttentionInput,
  blockSize: number,
  sequence: number,
  position: number,
): number {
  const block = input.blockTable[sequence * input.maxBlocks + Math.floor(position / blockSize)]!;
  return block * blockSize + position % blockSize;
}

/** The nearest value that fits into half precision. */
export function toHalf(values: Float32Array): Float32Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(2));
  return values.map((value) => {
    view.setFloat16(0, value);
    return view.getFloat16(0);
  }) as Float32Array<ArrayBuffer>;
}

/**
 * Random weights of every dtype, as bytes of a file and as the exact values that they stand for.
 *
 * @module
 */
import type { OpWeight } from "../../ffi/ops.ts";
import type { Random } from "./random.ts";

/** A weight and its values, `[rows, cols]`. */
export interface RandomWeight extends OpWeight {
  readonly values: Float64Array;
}

/** Dtypes of weights and the columns that share a scale. */
export const weightDTypes = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1"] as const;

/** Whether a dtype is quantized: its rows are multiples of 32 columns. */
export function isQuantized(dtype: OpWeight["dtype"]): boolean {
  return dtype.startsWith("Q");
}

/** What makes the numbers that a weight is drawn from. */
interface Source {
  /** Of a value that is no quant. */
  readonly value: () => number;
  /** Of a group of quants. */
  readonly scale: (span: number) => number;
  readonly minimum: () => number;
  /** A quant of Q8_0; the others have 4 bits. */
  readonly quant: () => number;
}

/** Small integers, so that sums of products with integers are exact; scales and quants alike. */
export function integerWeight(
  random: Random,
  dtype: OpWeight["dtype"],
  rows: number,
  cols: number,
): RandomWeight {
  const small = () => random.between(-2, 2);
  return drawnWeight(random, dtype, rows, cols, {
    value: small,
    scale: () => random.between(1, 2),
    minimum: small,
    quant: () => random.between(-8, 7),
  });
}

/** Every bit pattern may occur: scales, minima and quants are drawn, not derived from floats. */
export function randomWeight(
  random: Random,
  dtype: OpWeight["dtype"],
  rows: number,
  cols: number,
): RandomWeight {
  const deviation = 1 / Math.sqrt(cols);
  return drawnWeight(random, dtype, rows, cols, {
    value: () => random.normal() * deviation,
    scale: (span) => random.normal() * deviation / span,
    minimum: () => random.normal() * deviation * 2,
    quant: () => random.between(-128, 127),
  });
}

function drawnWeight(
  random: Random,
  dtype: OpWeight["dtype"],
  rows: number,
  cols: number,
  source: Source,
): RandomWeight {
  const blocks = rows * cols / 32;
  const float = new DataView(new ArrayBuffer(4));
  const writers = {
    F32: () =>
      plain(4, (view, at) => {
        view.setFloat32(at, source.value(), true);
        return view.getFloat32(at, true);
      }),
    F16: () =>
      plain(2, (view, at) => {
        view.setFloat16(at, source.value(), true);
        return view.getFloat16(at, true);
      }),
    BF16: () =>
      plain(2, (view, at) => {
        float.setFloat32(0, source.value());
        view.setUint16(at, float.getUint16(0), true);
        float.setUint16(2, 0);
        return float.getFloat32(0);
      }),
    Q8_0: () =>
      quantized(34, (view, at, put) => {
        const scale = half(view, at, source.scale(64));
        for (let i = 0; i < 32; i++) {
          const quant = source.quant();
          view.setInt8(at + 2 + i, quant);
          put(i, scale * quant);
        }
      }),
    Q4_0: () =>
      quantized(18, (view, at, put) => {
        const scale = half(view, at, source.scale(4));
        nibbles(view, at + 2, (i, quant) => put(i, scale * (quant - 8)));
      }),
    Q4_1: () =>
      quantized(20, (view, at, put) => {
        const scale = half(view, at, source.scale(4));
        const minimum = half(view, at + 2, source.minimum());
        nibbles(view, at + 4, (i, quant) => put(i, scale * quant + minimum));
      }),
  };
  return writers[dtype]();

  function plain(width: number, write: (view: DataView, at: number) => number): RandomWeight {
    const view = new DataView(new ArrayBuffer(rows * cols * width));
    const values = Float64Array.from({ length: rows * cols }, (_, i) => write(view, i * width));
    return { dtype, rows, cols, bytes: new Uint8Array(view.buffer), values };
  }

  function quantized(
    width: number,
    write: (view: DataView, at: number, put: (i: number, value: number) => void) => void,
  ): RandomWeight {
    const view = new DataView(new ArrayBuffer(blocks * width));
    const values = new Float64Array(rows * cols);
    for (let block = 0; block < blocks; block++) {
      write(view, block * width, (i, value) => values[block * 32 + i] = value);
    }
    return { dtype, rows, cols, bytes: new Uint8Array(view.buffer), values };
  }

  /** Byte i holds value i in its low nibble and value i + 16 in its high one. */
  function nibbles(view: DataView, at: number, put: (i: number, quant: number) => void): void {
    for (let i = 0; i < 16; i++) {
      const byte = random.below(256);
      view.setUint8(at + i, byte);
      put(i, byte & 15);
      put(i + 16, byte >> 4);
    }
  }
}

function half(view: DataView, at: number, value: number): number {
  view.setFloat16(at, value, true);
  return view.getFloat16(at, true);
}

/**
 * Writes GGUF files for tests, wrong ones too: every count, length and offset can be made to lie.
 *
 * @module
 */

/** Value types of GGUF metadata. */
export const gguf = {
  u8: 0,
  i8: 1,
  u16: 2,
  i16: 3,
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  string: 8,
  array: 9,
  u64: 10,
  i64: 11,
  f64: 12,
} as const;

export type Metadata = readonly (readonly [key: string, type: number, value: unknown])[];

/** A tensor to write; `dims` as in the file, innermost first. */
export interface TensorToWrite {
  readonly name: string;
  readonly dims: readonly (number | bigint)[];
  readonly type?: number;
  /** From the start of the data; by default after the tensor before, aligned. */
  readonly offset?: number;
}

export interface GgufToWrite {
  readonly metadata: Metadata;
  readonly tensors: readonly TensorToWrite[];
  readonly magic?: string;
  readonly version?: number;
  readonly tensorCount?: bigint;
  readonly metadataCount?: bigint;
  readonly alignment?: number;
  /** Bytes of tensor data; by default what the tensors need. */
  readonly dataBytes?: number;
}

const TYPE_SIZES: Readonly<Record<number, readonly [length: number, bytes: number]>> = {
  0: [1, 4],
  1: [1, 2],
  2: [32, 18],
  3: [32, 20],
  8: [32, 34],
  12: [256, 144],
  14: [256, 210],
  30: [1, 2],
};

/** A growing buffer of little-endian values. */
export class Bytes {
  #bytes: number[] = [];

  get length(): number {
    return this.#bytes.length;
  }

  raw(bytes: Iterable<number>): this {
    for (const byte of bytes) this.#bytes.push(byte);
    return this;
  }

  u32(value: number): this {
    const view = new DataView(new ArrayBuffer(4));
    view.setUint32(0, value, true);
    return this.raw(new Uint8Array(view.buffer));
  }

  u64(value: number | bigint): this {
    const view = new DataView(new ArrayBuffer(8));
    view.setBigUint64(0, BigInt(value), true);
    return this.raw(new Uint8Array(view.buffer));
  }

  string(text: string): this {
    const bytes = new TextEncoder().encode(text);
    return this.u64(bytes.length).raw(bytes);
  }

  value(type: number, value: unknown): this {
    const view = new DataView(new ArrayBuffer(8));
    const number = (bytes: number, set: () => void) => {
      set();
      return this.raw(new Uint8Array(view.buffer, 0, bytes));
    };
    switch (type) {
      case gguf.u8:
        return number(1, () => view.setUint8(0, value as number));
      case gguf.i8:
        return number(1, () => view.setInt8(0, value as number));
      case gguf.u16:
        return number(2, () => view.setUint16(0, value as number, true));
      case gguf.i16:
        return number(2, () => view.setInt16(0, value as number, true));
      case gguf.u32:
        return number(4, () => view.setUint32(0, value as number, true));
      case gguf.i32:
        return number(4, () => view.setInt32(0, value as number, true));
      case gguf.f32:
        return number(4, () => view.setFloat32(0, value as number, true));
      case gguf.f64:
        return number(8, () => view.setFloat64(0, value as number, true));
      case gguf.bool:
        return number(1, () => view.setUint8(0, value ? 1 : 0));
      case gguf.u64:
        return this.u64(value as bigint);
      case gguf.i64:
        return this.u64(BigInt.asUintN(64, value as bigint));
      case gguf.string:
        return this.string(value as string);
      case gguf.array: {
        const [elementType, elements] = value as [number, readonly unknown[]];
        this.u32(elementType).u64(elements.length);
        for (const element of elements) this.value(elementType, element);
        return this;
      }
      default:
        throw new Error(`the writer does not know value type ${type}`);
    }
  }

  align(alignment: number): this {
    while (this.length % alignment !== 0) this.#bytes.push(0);
    return this;
  }

  done(): Uint8Array<ArrayBuffer> {
    return Uint8Array.from(this.#bytes);
  }
}

/** The bytes of a GGUF file. Tensor data counts up, so that no two tensors are equal. */
export function writeGguf(file: GgufToWrite): Uint8Array<ArrayBuffer> {
  const alignment = file.alignment ?? 32;
  const out = new Bytes()
    .raw(new TextEncoder().encode(file.magic ?? "GGUF"))
    .u32(file.version ?? 3)
    .u64(file.tensorCount ?? file.tensors.length)
    .u64(file.metadataCount ?? file.metadata.length);
  for (const [key, type, value] of file.metadata) out.string(key).u32(type).value(type, value);
  let next = 0;
  for (const { name, dims, type = 0, offset = next } of file.tensors) {
    out.string(name).u32(dims.length);
    for (const dim of dims) out.u64(dim);
    out.u32(type).u64(offset);
    const elements = dims.reduce<number>((product, dim) => product * Number(dim), 1);
    const [length, bytes] = TYPE_SIZES[type] ?? [1, 1];
    next = Math.ceil((offset + elements / length * bytes) / alignment) * alignment;
  }
  out.align(alignment);
  const dataBytes = file.dataBytes ?? next;
  const written = new Uint8Array(out.length + dataBytes);
  written.set(out.done());
  for (let i = 0; i < dataBytes; i++) written[out.length + i] = i % 13;
  return written;
}

/**
 * C structs described once: size, offsets, writer and reader derive from the list of fields.
 *
 * The layout is that of x86-64 and arm64 Linux: every scalar is aligned to its size, the struct to
 * its widest scalar; little-endian. `tests/ffi/layout_test.ts` compares it with the C compiler's.
 *
 * @module
 */

/** Scalars of hearth.h. `u64` is a bigint, the others are numbers. */
export type Scalar = "u32" | "i32" | "f32" | "u64";

/** A scalar, an array of scalars such as `u64[2]`, or text that ends in NUL such as `char[112]`. */
export type FieldType = Scalar | `${Scalar}[${number}]` | `char[${number}]`;

type ScalarValue<S extends Scalar> = S extends "u64" ? bigint : number;

/** What a field holds on the TypeScript side. */
export type FieldValue<T extends FieldType> = T extends Scalar ? ScalarValue<T>
  : T extends `char[${number}]` ? string
  : T extends `${infer S extends Scalar}[${number}]` ? readonly ScalarValue<S>[]
  : never;

/** The values of a struct's fields, all but its leading `size`. */
export type StructValue<F extends Record<string, FieldType>> = {
  readonly [K in keyof F]: FieldValue<F[K]>;
};

const SCALAR_BYTES: Record<Scalar | "char", number> = { char: 1, u32: 4, i32: 4, f32: 4, u64: 8 };

function parseType(type: FieldType): { element: Scalar | "char"; count: number | undefined } {
  const [element, count] = type.split(/[[\]]/) as [Scalar | "char", string | undefined];
  return { element, count: count === undefined ? undefined : Number(count) };
}

/** Where a field lies. */
export interface Field {
  readonly name: string;
  /** In bytes. */
  readonly offset: number;
  readonly element: Scalar | "char";
  /** Elements of an array; undefined for a scalar. */
  readonly count: number | undefined;
}

/** A struct of hearth.h. Field names are those of C. */
export class Struct<F extends Record<string, FieldType>> {
  readonly byteLength: number;
  /** In C's order, `size` included. */
  readonly fields: readonly Field[];
  /** Where each field lies, for readers that need few of them and often. */
  readonly offsets: { readonly [K in keyof F]: number };
  /** Structs of hearth.h carry their size in front; plain pairs such as hearth_logit_bias do not. */
  readonly #sized: boolean;

  constructor(
    /** Name in C. */
    readonly cName: string,
    fields: F,
    options: { readonly sized?: boolean } = {},
  ) {
    this.#sized = options.sized ?? true;
    const types: Record<string, FieldType> = this.#sized ? { size: "u32", ...fields } : fields;
    let end = 0;
    let widest = 1;
    this.fields = Object.entries(types).map(([name, type]) => {
      const { element, count } = parseType(type);
      const width = SCALAR_BYTES[element];
      widest = Math.max(widest, width);
      const offset = Math.ceil(end / width) * width;
      end = offset + width * (count ?? 1);
      return { name, offset, element, count };
    });
    this.byteLength = Math.ceil(end / widest) * widest;
    this.offsets = Object.fromEntries(this.fields.map(({ name, offset }) => [name, offset])) as {
      [K in keyof F]: number;
    };
  }

  /** Bytes of one struct. */
  encode(value: StructValue<F>): Uint8Array<ArrayBuffer> {
    return this.encodeAll([value]);
  }

  /** Bytes of an array of structs. */
  encodeAll(values: readonly StructValue<F>[]): Uint8Array<ArrayBuffer> {
    const view = new DataView(new ArrayBuffer(values.length * this.byteLength));
    values.forEach((value, i) => this.#write(view, i * this.byteLength, value));
    return new Uint8Array(view.buffer);
  }

  /** A buffer of `count` structs for the library to fill, their sizes set. */
  allocate(count = 1): DataView<ArrayBuffer> {
    const view = new DataView(new ArrayBuffer(count * this.byteLength));
    if (this.#sized) {
      for (let i = 0; i < count; i++) view.setUint32(i * this.byteLength, this.byteLength, true);
    }
    return view;
  }

  /** The values of the struct at an offset in bytes. */
  decode(view: DataView, offset = 0): StructValue<F> {
    const value: Record<string, unknown> = {};
    for (const field of this.fields) {
      if (this.#sized && field.offset === 0) continue;
      value[field.name] = readField(view, offset + field.offset, field);
    }
    return value as StructValue<F>;
  }

  #write(view: DataView, offset: number, value: StructValue<F>): void {
    for (const field of this.fields) {
      const content = this.#sized && field.offset === 0 ? this.byteLength : value[field.name];
      writeField(view, offset + field.offset, field, content as FieldValue<FieldType>);
    }
  }
}

function readField(view: DataView, offset: number, field: Field): unknown {
  const { element, count } = field;
  if (element === "char") {
    const bytes = new Uint8Array(view.buffer, view.byteOffset + offset, count);
    return decodeCString(bytes);
  }
  if (count === undefined) return readScalar(view, offset, element);
  return Array.from(
    { length: count },
    (_, i) => readScalar(view, offset + i * SCALAR_BYTES[element], element),
  );
}

function writeField(
  view: DataView,
  offset: number,
  field: Field,
  value: FieldValue<FieldType>,
): void {
  const { element, count } = field;
  if (element === "char") {
    const bytes = new Uint8Array(view.buffer, view.byteOffset + offset, (count ?? 1) - 1);
    new TextEncoder().encodeInto(value as string, bytes);
  } else if (count === undefined) {
    writeScalar(view, offset, element, value as number | bigint);
  } else {
    const values = value as readonly (number | bigint)[];
    for (let i = 0; i < count; i++) {
      writeScalar(view, offset + i * SCALAR_BYTES[element], element, values[i]!);
    }
  }
}

function readScalar(view: DataView, offset: number, element: Scalar): number | bigint {
  switch (element) {
    case "u32":
      return view.getUint32(offset, true);
    case "i32":
      return view.getInt32(offset, true);
    case "f32":
      return view.getFloat32(offset, true);
    case "u64":
      return view.getBigUint64(offset, true);
  }
}

function writeScalar(
  view: DataView,
  offset: number,
  element: Scalar,
  value: number | bigint,
): void {
  switch (element) {
    case "u32":
      return view.setUint32(offset, value as number, true);
    case "i32":
      return view.setInt32(offset, value as number, true);
    case "f32":
      return view.setFloat32(offset, value as number, true);
    case "u64":
      return view.setBigUint64(offset, BigInt(value), true);
  }
}

/** Text up to the first NUL. */
export function decodeCString(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}

/**
 * The header of a GGUF file: its metadata and where its tensors lie.
 *
 * Nothing in the file is trusted. Every length is compared with what is left of the file before
 * memory is taken for it, so that a file that lies costs no more than its own size and no time
 * worth noting.
 *
 * @module
 */
import { ModelError } from "./spec.ts";

/** A metadata value; numeric arrays keep their element type, 64-bit numbers are exact or bigint. */
export type GgufValue = number | bigint | boolean | string | readonly string[] | GgufNumbers;

/** Numeric and boolean arrays of GGUF. */
export type GgufNumbers =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array
  | BigUint64Array
  | BigInt64Array;

/** A tensor as the header declares it, checked against the file. */
export interface GgufTensor {
  readonly name: string;
  /** ggml's type name, e.g. `Q4_1`. */
  readonly type: string;
  /** Row-major, outermost first (the file has it the other way round). */
  readonly shape: readonly number[];
  /** Of its first byte, in the file. */
  readonly offset: number;
  readonly bytes: number;
}

/** What {@linkcode readGguf} found. */
export interface GgufHeader {
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: readonly GgufTensor[];
  /** Bytes before the tensor data. */
  readonly headerBytes: Uint8Array;
}

const MAX_TENSORS = 65_536;
const MAX_METADATA = 65_536;
const MAX_ARRAY_LENGTH = 1 << 22; // sixteen times the largest vocabulary in use
const MAX_STRING_BYTES = 1 << 24;
const MAX_HEADER_BYTES = 1 << 26; // four times that of a vocabulary of 262,000
const SHORT_BYTES = 32;
const READ_BYTES = 1 << 21; // the header of a 49k vocabulary is 1.7 MB

/** ggml's element types: name, elements a block, bytes a block. */
const TENSOR_TYPES: ReadonlyMap<number, readonly [name: string, length: number, bytes: number]> =
  new Map([
    [0, ["F32", 1, 4]],
    [1, ["F16", 1, 2]],
    [2, ["Q4_0", 32, 18]],
    [3, ["Q4_1", 32, 20]],
    [6, ["Q5_0", 32, 22]],
    [7, ["Q5_1", 32, 24]],
    [8, ["Q8_0", 32, 34]],
    [9, ["Q8_1", 32, 36]],
    [10, ["Q2_K", 256, 84]],
    [11, ["Q3_K", 256, 110]],
    [12, ["Q4_K", 256, 144]],
    [13, ["Q5_K", 256, 176]],
    [14, ["Q6_K", 256, 210]],
    [15, ["Q8_K", 256, 292]],
    [16, ["IQ2_XXS", 256, 66]],
    [17, ["IQ2_XS", 256, 74]],
    [18, ["IQ3_XXS", 256, 98]],
    [19, ["IQ1_S", 256, 50]],
    [20, ["IQ4_NL", 32, 18]],
    [21, ["IQ3_S", 256, 110]],
    [22, ["IQ2_S", 256, 82]],
    [23, ["IQ4_XS", 256, 136]],
    [24, ["I8", 1, 1]],
    [25, ["I16", 1, 2]],
    [26, ["I32", 1, 4]],
    [27, ["I64", 1, 8]],
    [28, ["F64", 1, 8]],
    [29, ["IQ1_M", 256, 56]],
    [30, ["BF16", 1, 2]],
    [34, ["TQ1_0", 256, 54]],
    [35, ["TQ2_0", 256, 66]],
    [39, ["MXFP4", 32, 17]],
  ]);

/** Numeric value types of metadata: bytes each, how to read one, the array they come in. */
const NUMERIC_TYPES: ReadonlyMap<number, NumericType> = new Map<number, NumericType>([
  [0, { bytes: 1, get: (view, at) => view.getUint8(at), array: Uint8Array }],
  [1, { bytes: 1, get: (view, at) => view.getInt8(at), array: Int8Array }],
  [2, { bytes: 2, get: (view, at) => view.getUint16(at, true), array: Uint16Array }],
  [3, { bytes: 2, get: (view, at) => view.getInt16(at, true), array: Int16Array }],
  [4, { bytes: 4, get: (view, at) => view.getUint32(at, true), array: Uint32Array }],
  [5, { bytes: 4, get: (view, at) => view.getInt32(at, true), array: Int32Array }],
  [6, { bytes: 4, get: (view, at) => view.getFloat32(at, true), array: Float32Array }],
  [7, { bytes: 1, get: (view, at) => view.getUint8(at) !== 0, array: Uint8Array }],
  [10, { bytes: 8, get: (view, at) => exact(view.getBigUint64(at, true)), array: BigUint64Array }],
  [11, { bytes: 8, get: (view, at) => exact(view.getBigInt64(at, true)), array: BigInt64Array }],
  [12, { bytes: 8, get: (view, at) => view.getFloat64(at, true), array: Float64Array }],
]);
const STRING = 8;
const ARRAY = 9;

interface NumericType {
  readonly bytes: number;
  readonly get: (view: DataView, at: number) => number | bigint | boolean;
  readonly array: new (buffer: ArrayBuffer) => GgufNumbers;
}

/**
 * Read and check the header of a GGUF file (version 2 or 3, little-endian).
 *
 * @throws {ModelError} when anything in it is wrong; the tensor data itself is not read.
 */
export function readGguf(path: string): GgufHeader {
  using file = Deno.openSync(path);
  return new HeaderReader(path, file).read();
}

class HeaderReader {
  readonly #path: string;
  readonly #file: Deno.FsFile;
  readonly #fileBytes: number;
  readonly #text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  #buffer = new Uint8Array(0);
  #view = new DataView(this.#buffer.buffer);
  #filled = 0;
  #position = 0;

  constructor(path: string, file: Deno.FsFile) {
    this.#path = path;
    this.#file = file;
    this.#fileBytes = file.statSync().size;
  }

  read(): GgufHeader {
    this.#readMagic();
    const tensorCount = this.#count("tensor count", MAX_TENSORS, 32);
    const metadataCount = this.#count("metadata count", MAX_METADATA, 13);
    const metadata = this.#readMetadata(metadataCount);
    const tensors = this.#readTensors(tensorCount, this.#alignment(metadata));
    return { metadata, tensors, headerBytes: this.#buffer.subarray(0, this.#position) };
  }

  #readMagic(): void {
    this.#need(8, "magic and version");
    const magic = String.fromCharCode(...this.#buffer.subarray(0, 4));
    if (magic !== "GGUF") this.#fail(`it must begin with "GGUF": it begins with ${show(magic)}`);
    this.#position = 4;
    const version = this.#u32("version");
    if (version === 0x02000000 || version === 0x03000000) {
      this.#fail("big-endian GGUF files are not supported");
    }
    if (version !== 2 && version !== 3) {
      this.#fail(`version must be 2 or 3: current value is ${version}`);
    }
  }

  #readMetadata(count: number): Map<string, GgufValue> {
    const metadata = new Map<string, GgufValue>();
    for (let i = 0; i < count; i++) {
      const key = this.#string("metadata key");
      if (metadata.has(key)) this.#fail(`metadata key ${show(key)} comes twice`);
      metadata.set(key, this.#value(this.#u32(`type of ${show(key)}`), key));
    }
    return metadata;
  }

  #value(type: number, key: string): GgufValue {
    const numeric = NUMERIC_TYPES.get(type);
    if (numeric) {
      this.#need(numeric.bytes, `value of ${show(key)}`);
      const value = numeric.get(this.#view, this.#position);
      this.#position += numeric.bytes;
      return value;
    }
    if (type === STRING) return this.#string(`value of ${show(key)}`);
    if (type === ARRAY) return this.#array(key);
    return this.#fail(`metadata key ${show(key)} has unknown value type ${type}`);
  }

  #array(key: string): GgufValue {
    const type = this.#u32(`element type of ${show(key)}`);
    const numeric = NUMERIC_TYPES.get(type);
    if (!numeric && type !== STRING) {
      this.#fail(`array ${show(key)} has unsupported element type ${type}`);
    }
    const length = this.#count(`length of ${show(key)}`, MAX_ARRAY_LENGTH, numeric?.bytes ?? 8);
    if (!numeric) {
      const what = `element of ${show(key)}`;
      return Array.from({ length }, () => this.#string(what));
    }
    this.#need(length * numeric.bytes, `array ${show(key)}`);
    const start = this.#position;
    this.#position += length * numeric.bytes;
    return new numeric.array(this.#buffer.slice(start, this.#position).buffer);
  }

  #alignment(metadata: Map<string, GgufValue>): number {
    const alignment = metadata.get("general.alignment") ?? 32;
    if (
      typeof alignment !== "number" || alignment < 8 || alignment > 65_536 ||
      (alignment & (alignment - 1)) !== 0
    ) {
      this.#fail(`general.alignment must be a power of two, 8 to 65536: it is ${show(alignment)}`);
    }
    return alignment;
  }

  #readTensors(count: number, alignment: number): GgufTensor[] {
    const tensors = Array.from({ length: count }, () => this.#readTensor(alignment));
    const dataStart = Math.ceil(this.#position / alignment) * alignment;
    const placed = tensors.map((tensor) => ({ ...tensor, offset: tensor.offset + dataStart }));
    this.#checkPlaces(placed);
    return placed;
  }

  /** One tensor; its offset still counts from the start of the data. */
  #readTensor(alignment: number): GgufTensor {
    const name = this.#string("tensor name");
    const numDims = this.#u32(`dimension count of ${show(name)}`);
    if (numDims < 1 || numDims > 4) {
      this.#fail(`tensor ${show(name)} must have 1 to 4 dimensions: it has ${numDims}`);
    }
    const dims = Array.from({ length: numDims }, () => this.#u64(`shape of ${show(name)}`));
    const shape = dims.toReversed();
    const typeId = this.#u32(`type of ${show(name)}`);
    const type = TENSOR_TYPES.get(typeId);
    if (!type) this.#fail(`tensor ${show(name)} has unknown type ${typeId}`);
    const [typeName, blockLength, blockBytes] = type;
    const rowLength = dims[0] ?? 0;
    const elements = dims.reduce((product, dim) => product * dim, 1);
    const bytes = elements / blockLength * blockBytes;
    if (elements === 0 || rowLength % blockLength !== 0) {
      this.#fail(`tensor ${show(name)} of type ${typeName} cannot have the shape [${shape}]`);
    }
    if (bytes > this.#fileBytes) {
      this.#fail(
        `tensor ${show(name)} of type ${typeName} [${shape}] takes ${bytes} bytes, but the file ` +
          `has ${this.#fileBytes} (truncated?)`,
      );
    }
    const offset = this.#u64(`offset of ${show(name)}`);
    if (offset % alignment !== 0) {
      this.#fail(`tensor ${show(name)} must lie at a multiple of ${alignment}: it is at ${offset}`);
    }
    return { name, type: typeName, shape, offset, bytes };
  }

  /** Names are distinct; no tensor leaves the file or shares bytes with another. */
  #checkPlaces(tensors: readonly GgufTensor[]): void {
    const names = new Set<string>();
    for (const { name, offset, bytes } of tensors) {
      if (names.has(name)) this.#fail(`tensor ${show(name)} comes twice`);
      names.add(name);
      if (offset + bytes > this.#fileBytes) {
        this.#fail(
          `tensor ${show(name)} ends at byte ${offset + bytes}, but the file has ` +
            `${this.#fileBytes} bytes (truncated?)`,
        );
      }
    }
    const ordered = tensors.toSorted((a, b) => a.offset - b.offset);
    for (const [i, tensor] of ordered.entries()) {
      const next = ordered[i + 1];
      if (next && tensor.offset + tensor.bytes > next.offset) {
        this.#fail(`tensors ${show(tensor.name)} and ${show(next.name)} overlap`);
      }
    }
  }

  /** A count of things that take at least `bytesEach` bytes of the file each. */
  #count(what: string, limit: number, bytesEach: number): number {
    const count = this.#u64(what);
    if (count > limit) this.#fail(`${what} must be at most ${limit}: current value is ${count}`);
    const bytes = count * bytesEach;
    const left = this.#fileBytes - this.#position;
    if (bytes > left) {
      this.#fail(
        `${what} is ${count}, which takes at least ${bytes} bytes, but ${left} are left of the ` +
          `file's ${this.#fileBytes} (truncated?)`,
      );
    }
    return count;
  }

  #u32(what: string): number {
    this.#need(4, what);
    const value = this.#view.getUint32(this.#position, true);
    this.#position += 4;
    return value;
  }

  #u64(what: string): number {
    this.#need(8, what);
    const low = this.#view.getUint32(this.#position, true);
    const high = this.#view.getUint32(this.#position + 4, true);
    this.#position += 8;
    const value = high * 2 ** 32 + low;
    if (!Number.isSafeInteger(value)) this.#fail(`${what} has an absurd size: ${value}`);
    return value;
  }

  #string(what: string): string {
    const bytes = this.#u64(what);
    if (bytes > MAX_STRING_BYTES) {
      this.#fail(`${what} must have at most ${MAX_STRING_BYTES} bytes: it claims ${bytes}`);
    }
    this.#need(bytes, what);
    const start = this.#position;
    this.#position += bytes;
    return this.#decode(start, this.#position, what);
  }

  #decode(start: number, end: number, what: string): string {
    const short = end - start <= SHORT_BYTES ? decodeShort(this.#buffer, start, end) : undefined;
    if (short !== undefined) return short;
    try {
      return this.#text.decode(this.#buffer.subarray(start, end));
    } catch {
      return this.#fail(`${what} is not valid UTF-8`);
    }
  }

  /** Makes sure that the next `bytes` bytes are in the buffer. */
  #need(bytes: number, what: string): void {
    const end = this.#position + bytes;
    if (end <= this.#filled) return;
    if (end > this.#fileBytes) this.#fail(`${what} runs past the end of the file (truncated?)`);
    if (end > MAX_HEADER_BYTES) this.#fail(`the header is larger than ${MAX_HEADER_BYTES} bytes`);
    if (end > this.#buffer.length) {
      const grown = new Uint8Array(
        Math.min(this.#fileBytes, Math.max(end, 2 * this.#buffer.length, READ_BYTES)),
      );
      grown.set(this.#buffer.subarray(0, this.#filled));
      this.#buffer = grown;
      this.#view = new DataView(grown.buffer);
    }
    while (this.#filled < end) {
      const read = this.#file.readSync(this.#buffer.subarray(this.#filled));
      if (read === null) this.#fail(`${what} runs past the end of the file (truncated?)`);
      this.#filled += read;
    }
  }

  #fail(problem: string): never {
    throw new ModelError(`Cannot open model ${this.#path}: ${problem}`);
  }
}

/**
 * Text of one- and two-byte UTF-8 sequences, undefined where there is anything else. Nearly all of
 * a vocabulary is that short, and TextDecoder takes three times as long per call: it made half of
 * the time to open a model.
 */
function decodeShort(buffer: Uint8Array, start: number, end: number): string | undefined {
  let text = "";
  for (let at = start; at < end; at++) {
    const byte = buffer[at] as number;
    if (byte < 0x80) {
      text += String.fromCharCode(byte);
      continue;
    }
    const next = at + 1 < end ? buffer[++at] as number : 0;
    if (byte < 0xc2 || byte > 0xdf || (next & 0xc0) !== 0x80) return undefined;
    text += String.fromCharCode((byte & 0x1f) << 6 | next & 0x3f);
  }
  return text;
}

function exact(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** A value of the file for a message: quoted, escaped and cut, since it may hold anything. */
function show(value: unknown): string {
  const text = typeof value === "bigint" ? `${value}` : JSON.stringify(value) ?? `${value}`;
  return text.length <= 80 ? text : `${text.slice(0, 80)}…`;
}

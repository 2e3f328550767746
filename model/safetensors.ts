/**
 * Headers of safetensors files: where the tensors lie. The data itself is read by the native
 * library.
 *
 * The format is a little-endian u64 (length of the header), a JSON object, the data. Each tensor's
 * `data_offsets` count from the start of the data; together they cover it without holes.
 *
 * @module
 */
import { ModelError } from "./spec.ts";
import type { NamedTensor } from "./tensor_table.ts";

/** What {@linkcode readSafetensors} found. */
export interface SafetensorsHeader {
  readonly tensors: readonly NamedTensor[];
  readonly headerBytes: Uint8Array;
}

/** Room for 80,000 tensors; JSON takes many times its size in memory. */
const MAX_HEADER_BYTES = 1 << 23;

const ELEMENT_BYTES: Readonly<Record<string, number>> = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
};

/**
 * Read and check the header of a safetensors file.
 *
 * @param fileIndex goes into the tensors as `file`
 * @throws {ModelError} when anything in it is wrong
 */
export function readSafetensors(path: string, fileIndex: number): SafetensorsHeader {
  const fail = (problem: string): never => {
    throw new ModelError(`Cannot open weights ${path}: ${problem}`);
  };
  using file = Deno.openSync(path);
  const fileBytes = file.statSync().size;
  if (fileBytes < 8) fail(`it is too short to be a safetensors file: it has ${fileBytes} bytes`);
  const lengthBytes = readExactly(file, 8);
  const headerLength = Number(new DataView(lengthBytes.buffer).getBigUint64(0, true));
  const longest = Math.min(MAX_HEADER_BYTES, fileBytes - 8);
  if (headerLength < 2 || headerLength > longest) {
    fail(
      `its header must have 2 to ${longest} bytes: it claims ${headerLength} ` +
        "(truncated, or no safetensors file?)",
    );
  }
  const headerBytes = readExactly(file, headerLength);
  const dataStart = 8 + headerLength;
  const tensors = parseHeader(headerBytes, fail)
    .map(([name, entry]) => readEntry(name, entry, dataStart, fileIndex, fail));
  checkCover(tensors, dataStart, fileBytes, fail);
  return { tensors, headerBytes };
}

type Fail = (problem: string) => never;

function readExactly(file: Deno.FsFile, bytes: number): Uint8Array<ArrayBuffer> {
  const buffer = new Uint8Array(bytes);
  for (let filled = 0; filled < bytes;) {
    const read = file.readSync(buffer.subarray(filled));
    if (read === null) {
      throw new ModelError("Cannot open weights: the file shrank while being read");
    }
    filled += read;
  }
  return buffer;
}

function parseHeader(bytes: Uint8Array, fail: Fail): [string, unknown][] {
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    fail(`its header is not JSON: ${(error as Error).message.slice(0, 200)}`);
  }
  if (typeof header !== "object" || header === null || Array.isArray(header)) {
    fail("its header must be a JSON object");
  }
  return Object.entries(header as object).filter(([name]) => name !== "__metadata__");
}

function readEntry(
  name: string,
  entry: unknown,
  dataStart: number,
  fileIndex: number,
  fail: Fail,
): NamedTensor {
  const label = JSON.stringify(name).slice(0, 200);
  const { dtype, shape, data_offsets: offsets } = (entry ?? {}) as Record<string, unknown>;
  const elementBytes = typeof dtype === "string" && Object.hasOwn(ELEMENT_BYTES, dtype)
    ? ELEMENT_BYTES[dtype]
    : undefined;
  if (elementBytes === undefined) {
    return fail(`tensor ${label} has unknown dtype ${shown(dtype)}`);
  }
  if (!isSizes(shape) || shape.length > 8) return fail(`tensor ${label} has an invalid shape`);
  if (!isSizes(offsets) || offsets.length !== 2) {
    return fail(`tensor ${label} has invalid data_offsets`);
  }
  const [begin, end] = offsets as [number, number];
  const bytes = shape.reduce((product, size) => product * size, elementBytes);
  if (end - begin !== bytes) {
    fail(`tensor ${label} of ${dtype} [${shape}] takes ${bytes} bytes: it claims ${end - begin}`);
  }
  return { name, type: dtype as string, shape, file: fileIndex, offset: dataStart + begin, bytes };
}

/** The tensors follow one another and end where the file ends. */
function checkCover(
  tensors: readonly NamedTensor[],
  dataStart: number,
  fileBytes: number,
  fail: Fail,
): void {
  let end = dataStart;
  for (const tensor of tensors.toSorted((a, b) => a.offset - b.offset || a.bytes - b.bytes)) {
    if (tensor.offset !== end) {
      fail(
        `tensor ${JSON.stringify(tensor.name)} must begin where the one before it ends, ` +
          `at byte ${end}: it begins at ${tensor.offset}`,
      );
    }
    end += tensor.bytes;
  }
  if (end !== fileBytes) {
    fail(`its tensors end at byte ${end}, but the file has ${fileBytes} bytes (truncated?)`);
  }
}

/** A value of the header for a message; nested ones could be too deep to print. */
function shown(value: unknown): string {
  return typeof value === "object" && value !== null
    ? "of a list or an object"
    : String(JSON.stringify(value)).slice(0, 80);
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) &&
    value.every((size) => Number.isSafeInteger(size) && (size as number) >= 0);
}

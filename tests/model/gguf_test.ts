import assert from "node:assert/strict";
import { gguf as readWithLibrary } from "@huggingface/gguf";
import fc from "fast-check";
import { readGguf } from "../../model/gguf.ts";
import { loadModel } from "../../model/load.ts";
import { ModelError } from "../../model/spec.ts";
import { ownTimeMs } from "../own_time.ts";
import { assertRefused, ScratchFolder } from "./files.ts";
import { Bytes, gguf, writeGguf } from "./gguf_writer.ts";
import { tinyGguf, tinyMetadata, tinyTensors, withKeys, withTensors } from "./tiny_gguf.ts";

function read(bytes: Uint8Array) {
  using folder = new ScratchFolder();
  return readGguf(folder.write("m.gguf", bytes));
}

Deno.test("readGguf() finds what @huggingface/gguf finds", async () => {
  using folder = new ScratchFolder();
  const metadata = withKeys({
    "a.u8": [gguf.u8, 200],
    "a.f64": [gguf.f64, 0.1],
    "a.bool": [gguf.bool, true],
    "a.u64": [gguf.u64, 2n ** 60n],
    "a.text": [gguf.string, "ĠGrüße, 世界 😀 " + "long ".repeat(20)],
    "a.floats": [gguf.array, [gguf.f32, [1.5, -2, 3e7]]],
    "a.empty": [gguf.array, [gguf.string, []]],
  });
  const path = folder.write("m.gguf", tinyGguf({ metadata }));
  const ours = readGguf(path);
  const theirs = await readWithLibrary(path, { allowLocalFile: true });
  for (const [key] of metadata) {
    const value = ours.metadata.get(key);
    const plain = typeof value === "object" ? Array.from(value as ArrayLike<unknown>) : value;
    assert.deepEqual(plain, new Map(Object.entries(theirs.metadata)).get(key), key);
  }
  assert.deepEqual(
    ours.tensors.map(({ name, shape, offset }) => [name, shape, offset]),
    theirs.tensorInfos.map((tensor) => [
      tensor.name,
      tensor.shape.map(Number).toReversed(),
      Number(theirs.tensorDataOffset + tensor.offset),
    ]),
  );
});

Deno.test("readGguf() takes version 2 and other alignments", () => {
  for (const alignment of [8, 64, 65_536]) {
    const metadata = withKeys({ "general.alignment": [gguf.u32, alignment] });
    const { tensors } = read(tinyGguf({ version: 2, alignment, metadata }));
    assert.ok(tensors.every(({ offset }) => offset % alignment === 0));
  }
});

/** Of each type of number: values of it, and what they are read as. */
const numbers: Readonly<Record<string, readonly [type: number, values: readonly unknown[]]>> = {
  u8: [gguf.u8, [0, 200, 255]],
  i8: [gguf.i8, [-128, -1, 127]],
  u16: [gguf.u16, [1, 0x0102, 65_535]],
  i16: [gguf.i16, [-32_768, 0x0102, 32_767]],
  u32: [gguf.u32, [1, 0x01020304, 2 ** 32 - 1]],
  i32: [gguf.i32, [-(2 ** 31), 0x01020304, 2 ** 31 - 1]],
  f32: [gguf.f32, [-0.5, 1.5, 3e7]],
  bool: [gguf.bool, [true, false, true]],
  u64: [gguf.u64, [1n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 64n - 1n]],
  i64: [gguf.i64, [-(2n ** 63n), -(2n ** 53n) + 1n, -1n, 2n ** 40n]],
  f64: [gguf.f64, [-0.1, Number.MAX_VALUE, 5e-324]],
};

for (const [name, [type, values]] of Object.entries(numbers)) {
  Deno.test(`readGguf() reads ${name}, one and many`, () => {
    const { metadata } = read(writeGguf({
      metadata: [
        ...values.map((value, i) => [`${i}`, type, value] as const),
        ["all", gguf.array, [type, values]],
      ],
      tensors: [],
    }));
    for (const [i, value] of values.entries()) {
      const isExact = typeof value !== "bigint" || Number.isSafeInteger(Number(value));
      const expected = typeof value === "bigint" && isExact ? Number(value) : value;
      assert.equal(metadata.get(`${i}`), expected);
    }
    const plain = values.map((value) => typeof value === "boolean" ? Number(value) : value);
    assert.deepEqual(Array.from(metadata.get("all") as ArrayLike<unknown>), plain);
  });
}

const start = () => new Bytes().raw(tinyGguf().subarray(0, 4)).u32(3).u64(0).u64(1);

Deno.test("readGguf() takes a file that ends with its metadata", () => {
  const key = start().string("").u32(gguf.u8).raw([5]).done();
  assert.deepEqual([...read(key).metadata], [["", 5]]);
  const array = start().string("k").u32(gguf.array).u32(gguf.u16).u64(2).raw([1, 0, 2, 0]).done();
  assert.deepEqual([...read(array).metadata.get("k") as Uint16Array], [1, 2]);
});

Deno.test("readGguf() takes tensors in any order of their places, one behind another", async () => {
  const placed = (...offsets: number[]) =>
    read(writeGguf({
      metadata: [],
      tensors: offsets.map((offset, i) => ({ name: `${i}`, dims: [16], offset })),
      dataBytes: 192,
    })).tensors.map(({ name, bytes }) => [name, bytes]);
  assert.deepEqual(placed(128, 0, 64), [["0", 64], ["1", 64], ["2", 64]]);
  await assertRefused(() => placed(128, 0, 96), /tensors "2" and "0" overlap/);
  await assertRefused(() => placed(160, 0, 64), /tensor "0" ends at byte \d+, but the file has/);
});

Deno.test("readGguf() reads each text as UTF-8, or says that it is none", () => {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const decoded = (bytes: Uint8Array) => {
    try {
      return decoder.decode(bytes);
    } catch {
      return undefined;
    }
  };
  const byte = fc.constantFrom(0x00, 0x41, 0x7f, 0x80, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xf0);
  const text = fc.constantFrom(0x41, 0x7f, 0x80, 0xe9, 0x7ff, 0x800, 0xfeff, 0x1f600)
    .map((code) => [...new TextEncoder().encode(String.fromCodePoint(code))]);
  const bytes = fc.oneof(
    fc.array(byte, { maxLength: 3 }),
    fc.array(text, { maxLength: 34 }).map((characters) => characters.flat()),
  );
  using folder = new ScratchFolder();
  fc.assert(
    fc.property(bytes, (value) => {
      const file = start().string("k").u32(gguf.string).u64(value.length).raw(value).done();
      const path = folder.write("m.gguf", file);
      const expected = decoded(Uint8Array.from(value));
      if (expected !== undefined) assert.equal(readGguf(path).metadata.get("k"), expected);
      else assert.throws(() => readGguf(path), /value of "k" is not valid UTF-8/);
    }),
    { numRuns: 500 },
  );
});

Deno.test("readGguf() reads the longest text, and no header that is longer than any", async () => {
  using folder = new ScratchFolder();
  const longest = 1 << 24;
  /** So many texts of NULs, which are holes in the file. */
  const write = (count: number) => {
    const path = `${folder.path}/${count}.gguf`;
    const head = new Bytes().raw(tinyGguf().subarray(0, 4)).u32(3).u64(0).u64(count).done();
    using file = Deno.openSync(path, { write: true, create: true });
    file.writeSync(head);
    for (let i = 0; i < count; i++) {
      file.writeSync(new Bytes().string(`${i}`).u32(gguf.string).u64(longest).done());
      file.seekSync(longest, Deno.SeekMode.Current);
    }
    file.truncateSync(file.seekSync(0, Deno.SeekMode.Current));
    return path;
  };
  assert.equal((readGguf(write(1)).metadata.get("0") as string).length, longest);
  const path = write(5);
  await assertRefused(() => readGguf(path), /the header is larger than 67108864 bytes/);
});

/** A type's number, the elements of a block, and the bytes of a block's members. */
type GgmlBlock = readonly [id: number, length: number, members: readonly number[]];

/** As ggml's own structs have them (ggml-common.h). */
const ggmlBlocks: Readonly<Record<string, GgmlBlock>> = {
  F32: [0, 1, [4]],
  F16: [1, 1, [2]],
  Q4_0: [2, 32, [2, 32 / 2]],
  Q4_1: [3, 32, [2, 2, 32 / 2]],
  Q5_0: [6, 32, [2, 32 / 8, 32 / 2]],
  Q5_1: [7, 32, [2, 2, 32 / 8, 32 / 2]],
  Q8_0: [8, 32, [2, 32]],
  Q8_1: [9, 32, [2, 2, 32]],
  Q2_K: [10, 256, [256 / 16, 256 / 4, 2, 2]],
  Q3_K: [11, 256, [256 / 8, 256 / 4, 12, 2]],
  Q4_K: [12, 256, [2, 2, 12, 256 / 2]],
  Q5_K: [13, 256, [2, 2, 12, 256 / 8, 256 / 2]],
  Q6_K: [14, 256, [256 / 2, 256 / 4, 256 / 16, 2]],
  Q8_K: [15, 256, [4, 256, 2 * 256 / 16]],
  IQ2_XXS: [16, 256, [2, 2 * 256 / 8]],
  IQ2_XS: [17, 256, [2, 2 * 256 / 8, 256 / 32]],
  IQ3_XXS: [18, 256, [2, 3 * 256 / 8]],
  IQ1_S: [19, 256, [2, 256 / 8, 2 * 256 / 32]],
  IQ4_NL: [20, 32, [2, 32 / 2]],
  IQ3_S: [21, 256, [2, 256 / 4, 256 / 32, 256 / 8, 256 / 64]],
  IQ2_S: [22, 256, [2, 256 / 4, 256 / 32, 256 / 32]],
  IQ4_XS: [23, 256, [2, 2, 256 / 64, 256 / 2]],
  I8: [24, 1, [1]],
  I16: [25, 1, [2]],
  I32: [26, 1, [4]],
  I64: [27, 1, [8]],
  F64: [28, 1, [8]],
  IQ1_M: [29, 256, [256 / 8, 256 / 16, 256 / 32]],
  BF16: [30, 1, [2]],
  TQ1_0: [34, 256, [(256 - 4 * 256 / 64) / 5, 256 / 64, 2]],
  TQ2_0: [35, 256, [256 / 4, 2]],
  MXFP4: [39, 32, [1, 32 / 2]],
};

Deno.test("readGguf() knows every type of ggml by its number and its size", () => {
  const apart = 1024;
  const types = Object.entries(ggmlBlocks);
  const written = types.map(([name, [type, length]], i) => ({
    name,
    type,
    dims: [length, 2],
    offset: i * apart,
  }));
  const file = { metadata: [], tensors: written, dataBytes: types.length * apart };
  assert.deepEqual(
    read(writeGguf(file)).tensors.map(({ name, type, bytes }) => [name, type, bytes]),
    types.map(([name, [, , members]]) => [name, name, 2 * members.reduce((sum, it) => sum + it)]),
  );
  for (const [name, [type, length]] of types.filter(([, [, length]]) => length > 1)) {
    const halves = { name, type, dims: [length / 2, 2] };
    assert.throws(() => read(writeGguf({ ...file, tensors: [halves] })), /cannot have the shape/);
  }
});

const damaged: Record<string, [bytes: Uint8Array, message: RegExp]> = {
  "an empty file": [new Uint8Array(0), /magic and version runs past the end/],
  "half a magic": [new TextEncoder().encode("GG"), /magic and version runs past the end/],
  "another format": [tinyGguf({ magic: "GGML" }), /must begin with "GGUF": it begins with "GGML"/],
  "version 1": [tinyGguf({ version: 1 }), /version must be 2 or 3: current value is 1/],
  "version 4": [tinyGguf({ version: 4 }), /version must be 2 or 3: current value is 4/],
  "big-endian": [tinyGguf({ version: 0x03000000 }), /big-endian/],
  "big-endian, version 2": [tinyGguf({ version: 0x02000000 }), /big-endian/],
  "2^60 tensors": [tinyGguf({ tensorCount: 2n ** 60n }), /tensor count has an absurd size/],
  "the first kilobyte of a file of 272 tensors": [
    tinyGguf({ tensorCount: 272n }).slice(0, 1000),
    /tensor count is 272, which takes at least 8704 bytes, but \d+ are left .* \(truncated\?\)/,
  ],
  "more tensors than any model has": [
    tinyGguf({ tensorCount: 65_537n }),
    /Cannot open model .*m.gguf: tensor count must be at most 65536: current value is 65537$/,
  ],
  "as many tensors as a model may have": [
    tinyGguf({ tensorCount: 65_536n }),
    /tensor count is 65536, which takes at least 2097152 bytes/,
  ],
  "2^50 metadata keys": [
    tinyGguf({ metadataCount: 2n ** 50n }),
    /metadata count must be at most 65536: current value is 1125899906842624/,
  ],
  "as many metadata keys as a model may have": [
    tinyGguf({ metadataCount: 65_536n }),
    /metadata count is 65536, which takes at least 851968 bytes, but \d+ are left of the file's/,
  ],
  "more metadata keys than there are": [
    tinyGguf({ metadataCount: BigInt(tinyMetadata.length + 3) }),
    /Cannot open model/,
  ],
  "a doubled key": [
    tinyGguf({ metadata: [...tinyMetadata, ["general.architecture", gguf.string, "qwen2"]] }),
    /"general.architecture" comes twice/,
  ],
  "an unknown value type": [
    new Bytes().raw(tinyGguf().subarray(0, 4)).u32(3).u64(0).u64(1).string("k").u32(99).u64(0)
      .done(),
    /"k" has unknown value type 99/,
  ],
  "a string of 2^40 bytes": [
    new Bytes().raw(tinyGguf().subarray(0, 4)).u32(3).u64(0).u64(1).u64(2 ** 40).u64(0).done(),
    /metadata key must have at most 16777216 bytes/,
  ],
  "an array of 2^62 numbers": [
    new Bytes().raw(tinyGguf().subarray(0, 4)).u32(3).u64(0).u64(1).string("k").u32(9).u32(4)
      .u64(2n ** 62n).done(),
    /length of "k" has an absurd size/,
  ],
  "an array longer than the file": [
    new Bytes().raw(tinyGguf().subarray(0, 4)).u32(3).u64(0).u64(1).string("k").u32(9).u32(8)
      .u64(4_000_000).done(),
    /length of "k" is 4000000, which takes at least 32000000 bytes/,
  ],
  "an array of as many numbers as one may have": [
    start().string("k").u32(9).u32(4).u64(1 << 22).done(),
    /length of "k" is 4194304, which takes at least 16777216 bytes/,
  ],
  "an array of more numbers": [
    start().string("k").u32(9).u32(4).u64((1 << 22) + 1).done(),
    /length of "k" must be at most 4194304: current value is 4194305/,
  ],
  "a key of many characters in a message": [
    start().string("\u0001" + "k".repeat(90)).u32(99).u64(0).done(),
    /metadata key "\\u0001k{73}… has unknown value type 99/,
  ],
  "an alignment beyond all numbers": [
    tinyGguf({ metadata: withKeys({ "general.alignment": [gguf.u64, 2n ** 60n] }) }),
    /a power of two, 8 to 65536: it is 1152921504606846976/,
  ],
  "an alignment of four": [
    tinyGguf({ metadata: withKeys({ "general.alignment": [gguf.u32, 4] }) }),
    /general.alignment must be a power of two, 8 to 65536: it is 4/,
  ],
  "an alignment of 131,072": [
    tinyGguf({ metadata: withKeys({ "general.alignment": [gguf.u32, 131_072] }) }),
    /general.alignment must be a power of two, 8 to 65536: it is 131072/,
  ],
  "a tensor of five dimensions": [
    tinyGguf({ tensors: withTensors({ "output_norm.weight": { dims: [64, 1, 1, 1, 1] } }) }),
    /"output_norm.weight" must have 1 to 4 dimensions: it has 5/,
  ],
  "an array of arrays": [
    new Bytes().raw(tinyGguf().subarray(0, 4)).u32(3).u64(0).u64(1).string("k").u32(9).u32(9)
      .u64(1).u32(9).u64(1).done(),
    /array "k" has unsupported element type 9/,
  ],
  "text that is no UTF-8": [
    new Bytes().raw(tinyGguf().subarray(0, 4)).u32(3).u64(0).u64(1).string("k").u32(8).u64(2)
      .raw([0xc3, 0x28]).done(),
    /value of "k" is not valid UTF-8/,
  ],
  "an alignment that is no power of two": [
    tinyGguf({ metadata: withKeys({ "general.alignment": [gguf.u32, 48] }) }),
    /general.alignment must be a power of two/,
  ],
  "an alignment of zero": [
    tinyGguf({ metadata: withKeys({ "general.alignment": [gguf.u32, 0] }) }),
    /general.alignment must be a power of two/,
  ],
  "an alignment that is text": [
    tinyGguf({ metadata: withKeys({ "general.alignment": [gguf.string, "32"] }) }),
    /general.alignment must be a power of two/,
  ],
  "a tensor of no dimensions": [
    tinyGguf({ tensors: withTensors({ "output_norm.weight": { dims: [] } }) }),
    /"output_norm.weight" must have 1 to 4 dimensions: it has 0/,
  ],
  "a tensor of 2^53 elements": [
    tinyGguf({
      tensors: withTensors({ "output_norm.weight": { dims: [2 ** 27, 2 ** 26], offset: 0 } }),
      dataBytes: 1 << 16,
    }),
    /F32 \[67108864,134217728\] takes 3602879701896397\d bytes, but the file has/,
  ],
  "dimensions whose product overflows to zero": [
    tinyGguf({
      tensors: withTensors({
        "output_norm.weight": { dims: [2 ** 32, 2 ** 32, 1, 1], offset: 0 },
      }),
      dataBytes: 1 << 16,
    }),
    /takes 7378697629483\d+ bytes, but the file has/,
  ],
  "a tensor of no elements": [
    tinyGguf({ tensors: withTensors({ "output_norm.weight": { dims: [0, 64] } }) }),
    /cannot have the shape \[64,0\]/,
  ],
  "rows that are no whole blocks": [
    tinyGguf({ tensors: withTensors({ "blk.0.attn_q.weight": { dims: [48, 64] } }) }),
    /of type Q4_1 cannot have the shape \[64,48\]/,
  ],
  "an unknown tensor type": [
    tinyGguf({ tensors: withTensors({ "output_norm.weight": { type: 77 } }) }),
    /"output_norm.weight" has unknown type 77/,
  ],
  "a tensor past the end": [
    tinyGguf({
      tensors: withTensors({ "blk.0.ffn_down.weight": { offset: 1 << 30 } }),
      dataBytes: 1 << 17,
    }),
    /"blk.0.ffn_down.weight" ends at byte \d+, but the file has \d+ bytes/,
  ],
  "overlapping tensors": [
    tinyGguf({ tensors: withTensors({ "blk.0.ffn_norm.weight": { offset: 0 } }) }),
    /tensors "\S+" and "\S+" overlap/,
  ],
  "a tensor between the multiples of the alignment": [
    tinyGguf({ tensors: withTensors({ "blk.0.ffn_norm.weight": { offset: 1_000_001 } }) }),
    /must lie at a multiple of 32: it is at 1000001/,
  ],
  "a doubled tensor": [
    tinyGguf({ tensors: [...tinyTensors, { name: "output_norm.weight", dims: [64] }] }),
    /"output_norm.weight" comes twice/,
  ],
};

for (const [name, [bytes, message]] of Object.entries(damaged)) {
  Deno.test(`readGguf() refuses ${name}`, async () => {
    await assertRefused(() => read(bytes), message);
  });
}

Deno.test("readGguf() refuses a file cut at any point of its header", () => {
  using folder = new ScratchFolder();
  const whole = tinyGguf();
  const headerBytes = read(whole).headerBytes.length;
  for (let length = 0; length < headerBytes; length += 37) {
    const path = folder.write("m.gguf", whole.subarray(0, length));
    assert.throws(() => readGguf(path), ModelError, `cut at ${length}`);
  }
  const cut = folder.write("m.gguf", whole.subarray(0, whole.length - 1));
  assert.throws(() => readGguf(cut), /truncated\?/);
});

Deno.test("loadModel() of a GGUF file with flipped bytes succeeds or throws a ModelError", async () => {
  using folder = new ScratchFolder();
  const whole = tinyGguf();
  const headerBytes = read(whole).headerBytes.length;
  const flip = fc.record({
    at: fc.nat(headerBytes - 1),
    mask: fc.integer({ min: 1, max: 255 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(flip, { minLength: 1, maxLength: 4 }), async (flips) => {
      const bytes = whole.slice();
      for (const { at, mask } of flips) bytes[at] = (bytes[at] as number) ^ mask;
      const path = folder.write("m.gguf", bytes);
      const start = ownTimeMs();
      await loadModel(path).catch((error) => {
        assert.ok(error instanceof ModelError, `${error?.stack}`);
      });
      assert.ok(ownTimeMs() - start < 2000);
    }),
    { numRuns: 400 },
  );
});

Deno.test("readGguf() of random bytes behind a valid start throws a ModelError", () => {
  using folder = new ScratchFolder();
  const start = writeGguf({ metadata: [], tensors: [] }).subarray(0, 8);
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 400 }), (rest) => {
      const path = folder.write("m.gguf", Uint8Array.from([...start, ...rest]));
      try {
        readGguf(path);
      } catch (error) {
        assert.ok(error instanceof ModelError, `${error}`);
      }
    }),
    { numRuns: 300 },
  );
});

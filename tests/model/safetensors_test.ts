import assert from "node:assert/strict";
import fc from "fast-check";
import { readSafetensors } from "../../model/safetensors.ts";
import { ModelError } from "../../model/spec.ts";
import { assertRefused, ScratchFolder } from "./files.ts";
import { rawSafetensors, tinyWeights, writeSafetensors } from "./tiny_hf.ts";

function read(bytes: Uint8Array) {
  using folder = new ScratchFolder();
  return readSafetensors(folder.write("model.safetensors", bytes), 3);
}

Deno.test("readSafetensors() places tensors in the file", () => {
  const { tensors, headerBytes } = read(
    writeSafetensors({
      "a": { shape: [2, 3] },
      "b": { shape: [5], dtype: "BF16" },
      "empty": { shape: [0, 4] },
    }),
  );
  const dataStart = 8 + headerBytes.length;
  assert.deepEqual(tensors, [
    { name: "a", type: "F32", shape: [2, 3], file: 3, offset: dataStart, bytes: 24 },
    { name: "b", type: "BF16", shape: [5], file: 3, offset: dataStart + 24, bytes: 10 },
    { name: "empty", type: "F32", shape: [0, 4], file: 3, offset: dataStart + 34, bytes: 0 },
  ]);
});

Deno.test("readSafetensors() takes tensors in any order of their offsets", () => {
  const { tensors } = read(
    writeSafetensors({
      "second": { shape: [1], data_offsets: [4, 8] },
      "first": { shape: [1], data_offsets: [0, 4] },
    }),
  );
  assert.equal((tensors[0]?.offset ?? 0) - (tensors[1]?.offset ?? 0), 4);
});

/** Bytes of an element. */
const elements: Readonly<Record<string, number>> = {
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

Deno.test("readSafetensors() knows each type by its size", () => {
  for (const [dtype, bytes] of Object.entries(elements)) {
    const { tensors } = read(one({ dtype, shape: [3], data_offsets: [0, 3 * bytes] }, 3 * bytes));
    assert.deepEqual([tensors[0]?.type, tensors[0]?.bytes], [dtype, 3 * bytes]);
  }
});

Deno.test("readSafetensors() takes up to eight dimensions, none of them too, and no tensors", () => {
  for (const shape of [[], Array(8).fill(1)]) {
    const { tensors } = read(one({ dtype: "F32", shape, data_offsets: [0, 4] }));
    assert.deepEqual(tensors.map((tensor) => [tensor.name, tensor.shape, tensor.bytes]), [
      ["t", shape, 4],
    ]);
  }
  assert.deepEqual(read(rawSafetensors("{}", 0)).tensors, []);
  assert.deepEqual(read(rawSafetensors('{"__metadata__":{"a":"b"}}', 0)).tensors, []);
});

const one = (entry: unknown, dataBytes = 4) =>
  rawSafetensors(JSON.stringify({ t: entry }), dataBytes);

const refused: Record<string, [bytes: Uint8Array, message: RegExp]> = {
  "an empty file": [new Uint8Array(0), /too short to be a safetensors file: it has 0 bytes/],
  "a file of seven bytes": [new Uint8Array(7), /^Cannot open weights .*: it has 7 bytes$/],
  "a header of one byte": [rawSafetensors("1", 1), /header must have 2 to 2 bytes: it claims 1/],
  "a header one byte longer than the file": [
    rawSafetensors("{}", 0, 3n),
    /header must have 2 to 2 bytes: it claims 3 \(truncated, or no safetensors file\?\)/,
  ],
  "nine dimensions": [
    one({ dtype: "F32", shape: Array(9).fill(1), data_offsets: [0, 4] }),
    /tensor "t" has an invalid shape/,
  ],
  "three offsets": [
    one({ dtype: "F32", shape: [1], data_offsets: [0, 4, 8] }),
    /tensor "t" has invalid data_offsets/,
  ],
  "a long name": [
    rawSafetensors(`{"${"t".repeat(300)}":{"dtype":"Q7"}}`, 0),
    /: tensor "t{199} has unknown dtype "Q7"$/,
  ],
  "a long dtype": [one({ dtype: "Q".repeat(99) }), /: tensor "t" has unknown dtype "Q{79}$/],
  "a header that is a number": [rawSafetensors("12", 0), /header must be a JSON object/],
  "a header that is null": [rawSafetensors("null", 0), /header must be a JSON object/],
  "a header longer than the file": [
    rawSafetensors("{}", 0, 1000n),
    /header must have 2 to 2 bytes: it claims 1000/,
  ],
  "a header of 2^63 bytes": [rawSafetensors("{}", 0, 2n ** 63n), /header must have 2 to 2 bytes/],
  "a header of no bytes": [rawSafetensors("{}", 0, 0n), /it claims 0/],
  "a header that is no JSON": [rawSafetensors("{nonsense", 0), /header is not JSON/],
  "a header that is no UTF-8": [
    (() => {
      const bytes = rawSafetensors("{  }", 0);
      bytes[9] = 0xff;
      return bytes;
    })(),
    /header is not JSON/,
  ],
  "a header that is a list": [rawSafetensors("[1]", 0), /header must be a JSON object/],
  "a dtype nested 100,000 deep": [
    rawSafetensors(`{"t":{"dtype":${"[".repeat(100_000)}${"]".repeat(100_000)}}}`, 0),
    /unknown dtype of a list or an object/,
  ],
  "a header of 9 MB": [
    rawSafetensors(`{"t":"${"x".repeat(9_000_000)}"}`, 0),
    /header must have 2 to 8388608 bytes: it claims 9000008/,
  ],
  "an entry that is null": [one(null), /tensor "t" has unknown dtype undefined/],
  "an unknown dtype": [
    one({ dtype: "Q7", shape: [1], data_offsets: [0, 4] }),
    /unknown dtype "Q7"/,
  ],
  "a dtype out of Object.prototype": [
    one({ dtype: "constructor", shape: [1], data_offsets: [0, 4] }),
    /unknown dtype "constructor"/,
  ],
  "a negative size": [
    one({ dtype: "F32", shape: [-1], data_offsets: [0, 4] }),
    /"t" has an invalid shape/,
  ],
  "a fractional size": [
    one({ dtype: "F32", shape: [0.5], data_offsets: [0, 2] }),
    /"t" has an invalid shape/,
  ],
  "a shape of 2^120 elements": [
    one({ dtype: "F32", shape: [2 ** 40, 2 ** 40, 2 ** 40], data_offsets: [0, 4] }),
    /takes 5\.3169\d+e\+36 bytes: it claims 4/,
  ],
  "no offsets": [one({ dtype: "F32", shape: [1] }), /invalid data_offsets/],
  "offsets that are text": [
    one({ dtype: "F32", shape: [1], data_offsets: ["0", "4"] }),
    /invalid data_offsets/,
  ],
  "offsets the wrong way round": [
    one({ dtype: "F32", shape: [1], data_offsets: [4, 0] }),
    /takes 4 bytes: it claims -4/,
  ],
  "a shape that contradicts the bytes": [
    one({ dtype: "F32", shape: [2], data_offsets: [0, 4] }),
    /of F32 \[2\] takes 8 bytes: it claims 4/,
  ],
  "a tensor past the end": [
    one({ dtype: "F32", shape: [2], data_offsets: [0, 8] }),
    /end at byte \d+, but the file has \d+ bytes \(truncated\?\)/,
  ],
  "bytes behind the last tensor": [
    one({ dtype: "F32", shape: [1], data_offsets: [0, 4] }, 5),
    /tensors end at byte/,
  ],
  "a hole": [
    writeSafetensors({ a: { shape: [1] }, b: { shape: [1], data_offsets: [8, 12] } }, 12),
    /tensor "b" must begin where the one before it ends/,
  ],
  "overlapping tensors": [
    writeSafetensors({ a: { shape: [2] }, b: { shape: [1], data_offsets: [4, 8] } }, 8),
    /tensor "b" must begin where the one before it ends/,
  ],
  "a doubled name": [
    rawSafetensors(
      '{"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},' +
        '"t":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
      8,
    ),
    /tensor "t" must begin where the one before it ends/,
  ],
};

for (const [name, [bytes, message]] of Object.entries(refused)) {
  Deno.test(`readSafetensors() refuses ${name}`, async () => {
    await assertRefused(() => read(bytes), message);
  });
}

Deno.test("readSafetensors() of flipped bytes succeeds or throws a ModelError", () => {
  using folder = new ScratchFolder();
  const whole = writeSafetensors(tinyWeights());
  const headerEnd = 8 + Number(new DataView(whole.buffer).getBigUint64(0, true));
  fc.assert(
    fc.property(
      fc.array(fc.record({ at: fc.nat(headerEnd - 1), byte: fc.nat(255) }), {
        minLength: 1,
        maxLength: 4,
      }),
      (changes) => {
        const bytes = whole.slice();
        for (const { at, byte } of changes) bytes[at] = byte;
        const path = folder.write("model.safetensors", bytes);
        try {
          readSafetensors(path, 0);
        } catch (error) {
          assert.ok(error instanceof ModelError, `${error}`);
        }
      },
    ),
    { numRuns: 300 },
  );
});

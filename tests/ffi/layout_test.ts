import assert from "node:assert/strict";
import { Struct } from "../../ffi/struct.ts";
import * as structs from "../../ffi/structs.ts";
import { runC } from "./compile_c.ts";
import { enumeratorsOf, readHeader, structsOf } from "./header.ts";

const header = readHeader("hearth.h");
const described = Object.values(structs).filter((value) => value instanceof Struct);

/** Every enumerator of structs.ts under its name in C. */
const enumerators = new Map<string, number>(
  Object.entries({
    "": structs.Status,
    DEVICE_: structs.DeviceKind,
    ISA_: structs.Isa,
    NORM_: structs.Norm,
    ACTIVATION_: structs.Activation,
    POSITION_: structs.Position,
    ROPE_: structs.RopeStyle,
    TENSOR_: structs.TensorRole,
    CANCEL_: structs.Cancel,
    EVENT_: structs.EventKind,
    FINISH_: structs.Finish,
    LOAD_: structs.LoadFormat,
    STATE_: structs.State,
    DTYPE_: { ...structs.WeightDType, ...structs.ComputeDType },
  }).flatMap(([prefix, values]) =>
    Object.entries(values).map(([name, value]): [string, number] => {
      const inC = name.replace(/^fp(\d\d)$/, "f$1").toUpperCase();
      return [`HEARTH_${prefix}${inC}`, value];
    })
  ),
);

Deno.test("structs.ts describes every struct and field of hearth.h", () => {
  const ours = described.map(({ cName, fields }) => [cName, fields.map(({ name }) => name)]);
  assert.deepEqual(new Map(ours as [string, string[]][]), structsOf(header));
});

Deno.test("structs.ts names every enumerator of hearth.h", () => {
  const notNeeded = ["HEARTH_LOGPROBS_NONE"];
  const inHeader = enumeratorsOf(header).filter((name) => !notNeeded.includes(name));
  assert.deepEqual([...enumerators.keys()].sort(), inHeader.sort());
});

Deno.test("structs.ts agrees with the C compiler", async () => {
  const lines = described.flatMap(({ cName, fields }) => [
    `printf("%s %zu\\n", "${cName}", sizeof(${cName}));`,
    ...fields.map(({ name, count }) => {
      const element = `((${cName} *)0)->${name}${count === undefined ? "" : "[0]"}`;
      const elements = `sizeof(((${cName} *)0)->${name}) / sizeof(${element})`;
      return `printf("%s.%s %zu %s %zu\\n", "${cName}", "${name}", offsetof(${cName}, ${name}), ` +
        `TYPE(${element}), ${elements});`;
    }),
  ]);
  for (const name of enumerators.keys()) lines.push(`printf("%s %d\\n", "${name}", (int)${name});`);
  const printed = await runC(`
    #include <hearth.h>
    #include <stddef.h>
    #include <stdio.h>
    #define TYPE(x) _Generic((x), char: "char", uint32_t: "u32", int32_t: "i32", float: "f32", \\
                             uint64_t: "u64")
    int main(void) {
      printf("version %d, numerics %d\\n", HEARTH_ABI_VERSION, HEARTH_NUMERICS);
      ${lines.join("\n      ")}
    }`);
  const expected = [
    `version ${structs.abiVersion}, numerics ${structs.numerics}`,
    ...described.flatMap(({ cName, byteLength, fields }) => [
      `${cName} ${byteLength}`,
      ...fields.map(({ name, offset, element, count }) =>
        `${cName}.${name} ${offset} ${element} ${count ?? 1}`
      ),
    ]),
    ...[...enumerators].map(([name, value]) => `${name} ${value}`),
  ];
  assert.deepEqual(printed.trim().split("\n"), expected);
});

Deno.test("Struct decodes what it encodes", () => {
  const event = {
    kind: 1,
    request: 2n ** 64n - 1n,
    sequence: 3,
    token: 2 ** 32 - 1,
    logprob: -0.5,
    finish_reason: 4,
    cached_tokens: 5,
    payload_offset: 6,
    payload_bytes: 7,
    num_output_tokens: 8,
    queue_microseconds: 9n,
  };
  const bytes = structs.Event.encodeAll([event, { ...event, sequence: 9 }]);
  const view = new DataView(bytes.buffer);
  assert.deepEqual(structs.Event.decode(view), event);
  assert.equal(structs.Event.decode(view, structs.Event.byteLength).sequence, 9);
  assert.equal(view.getUint32(0, true), structs.Event.byteLength);
});

Deno.test("Struct cuts text at the first NUL", () => {
  const view = structs.Device.allocate();
  const { offset } = structs.Device.fields.find(({ name }) => name === "name")!;
  new TextEncoder().encodeInto("Zen 4\0rest", new Uint8Array(view.buffer, offset));
  assert.equal(structs.Device.decode(view).name, "Zen 4");
});

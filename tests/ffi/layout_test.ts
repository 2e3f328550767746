import assert from "node:assert/strict";
import * as ops from "../../ffi/op_symbols.ts";
import { Struct } from "../../ffi/struct.ts";
import * as structs from "../../ffi/structs.ts";
import { readHeader } from "../../scripts/c_header.ts";
import { nameEnumeration, SCALARS } from "../../scripts/generate_abi.ts";
import { runC } from "./compile_c.ts";

const exported: Readonly<Record<string, unknown>> = { ...structs, ...ops };
const described = Object.values(exported).filter((value) => value instanceof Struct);
const headers = [readHeader("hearth.h"), readHeader("hearth_ops.h")];

/** Names in C of what has a value, with the value that TypeScript has. */
const values = new Map<string, unknown>([
  ...headers.flatMap(({ constants }) =>
    constants.map(({ name }): [string, unknown] => {
      const words = name.replace("HEARTH_", "").toLowerCase();
      return [name, exported[words.replace(/_(.)/g, (_, letter) => letter.toUpperCase())]];
    })
  ),
  ...headers.flatMap(({ enumerations }) =>
    enumerations.flatMap((enumeration) => {
      const { name, prefix } = nameEnumeration(enumeration);
      return Object.entries(exported[name] as Record<string, number>)
        .map(([key, value]): [string, unknown] => [`${prefix}${key.toUpperCase()}`, value]);
    })
  ),
]);

Deno.test("structs.ts and op_symbols.ts agree with the C compiler", async () => {
  assert.ok(described.length > 10 && values.size > 60);
  const lines = described.flatMap(({ cName, fields }) => [
    `printf("%s %zu\\n", "${cName}", sizeof(${cName}));`,
    ...fields.map(({ name, count }) => {
      const element = `((${cName} *)0)->${name}${count === undefined ? "" : "[0]"}`;
      const elements = `sizeof(((${cName} *)0)->${name}) / sizeof(${element})`;
      return `printf("%s.%s %zu %s %zu\\n", "${cName}", "${name}", offsetof(${cName}, ${name}), ` +
        `TYPE(${element}), ${elements});`;
    }),
  ]);
  for (const name of values.keys()) lines.push(`printf("%s %d\\n", "${name}", (int)${name});`);
  for (const type of Object.keys(SCALARS)) {
    lines.push(`printf("%s %s\\n", "${type}", TYPE((${type})0));`);
  }
  const printed = await runC(`
    #include <hearth_ops.h>
    #include <stddef.h>
    #include <stdio.h>
    #define TYPE(x) _Generic((x), char: "char", uint32_t: "u32", int32_t: "i32", float: "f32", \\
                             uint64_t: "u64")
    int main(void) {
      ${lines.join("\n      ")}
    }`);
  const expected = [
    ...described.flatMap(({ cName, byteLength, fields }) => [
      `${cName} ${byteLength}`,
      ...fields.map(({ name, offset, element, count }) =>
        `${cName}.${name} ${offset} ${element} ${count ?? 1}`
      ),
    ]),
    ...[...values].map(([name, value]) => `${name} ${value}`),
    ...Object.entries(SCALARS).map(([type, name]) => `${type} ${name}`),
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
    num_tokens: 1,
    num_top: 20,
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

import assert from "node:assert/strict";
import * as ops from "../../ffi/op_symbols.ts";
import { Ops } from "../../ffi/ops.ts";
import { Struct } from "../../ffi/struct.ts";
import { runC } from "../ffi/compile_c.ts";
import { prototypesOf, readHeader, structsOf } from "../ffi/header.ts";

const header = readHeader("hearth_ops.h");
const described = Object.values(ops).filter((value) => value instanceof Struct);

/** Types in C that are no pointers, and what Deno must be told. */
const scalars: Readonly<Record<string, string>> = {
  hearth_status: "i32",
  uint32_t: "u32",
  uint64_t: "u64",
};

Deno.test("op_symbols.ts declares every function of hearth_ops.h as C does", () => {
  const declared = Object.fromEntries(
    Object.entries(ops.opSymbols).map(([name, { parameters, result }]) => [
      name,
      { parameters: [...parameters], result },
    ]),
  );
  const expected = Object.fromEntries(
    prototypesOf(header).map(({ name, parameters, result }) => [name, {
      parameters: parameters.map((type) => type.endsWith("*") ? "buffer" : scalars[type]),
      result: scalars[result],
    }]),
  );
  assert.deepEqual(declared, expected);
});

Deno.test("op_symbols.ts describes every struct of hearth_ops.h as the C compiler does", async () => {
  const fields = described.map(({ cName, fields }) => [cName, fields.map(({ name }) => name)]);
  assert.deepEqual(new Map(fields as [string, string[]][]), structsOf(header));
  const printed = await runC(`
    #include <hearth_ops.h>
    #include <stddef.h>
    #include <stdio.h>
    #define TYPE(x) _Generic((x), uint32_t: "u32", int32_t: "i32", float: "f32", uint64_t: "u64")
    int main(void) {
      printf("%d\\n", HEARTH_OP_MAX_LOGPROBS);
      ${
    described.flatMap(({ cName, fields }) => [
      `printf("${cName} %zu\\n", sizeof(${cName}));`,
      ...fields.map(({ name }) =>
        `printf("${cName}.${name} %zu %s\\n", offsetof(${cName}, ${name}), ` +
        `TYPE(((${cName} *)0)->${name}));`
      ),
    ]).join("\n")
  }
    }`);
  const expected = [
    `${ops.maxLogprobs}`,
    ...described.flatMap(({ cName, byteLength, fields }) => [
      `${cName} ${byteLength}`,
      ...fields.map(({ name, offset, element }) => `${cName}.${name} ${offset} ${element}`),
    ]),
  ];
  assert.deepEqual(printed.trim().split("\n"), expected);
});

Deno.test("Ops names the field that is wrong", () => {
  const one = new Float32Array(1);
  const norm = { kind: "rms", eps: 1, weight: one } as const;
  using threads = new Ops({ numThreads: 5000 });
  assert.throws(
    () => threads.norm(norm, one, new Float32Array(1)),
    { message: "Cannot run op: num_threads must be 0 to 1024: current value is 5000" },
  );
  using plain = new Ops();
  assert.throws(
    () =>
      plain.embed(
        { dtype: "F32", rows: 1, cols: 1, bytes: new Uint8Array(4) },
        Int32Array.of(1),
        new Float32Array(1),
      ),
    { message: "Cannot run op: ids must be 0 to 0: current value is 1" },
  );
  assert.throws(() => plain.sample(one, 1, [], [{ sampler: 3 }]), /sampler must be 0 to -1/);
});

Deno.test("Ops.trap() is for CUDA", () => {
  using ops = new Ops();
  assert.throws(() => ops.trap(), {
    code: "unsupported",
    message: "Cannot trap: device_kind must be CUDA (2): current value is 1",
  });
});

Deno.test("Ops measures what a machine can do", () => {
  using machine = new Ops({ isa: "generic", numThreads: 1 });
  const bandwidth = machine.readBandwidth(2 ** 24);
  assert.ok(bandwidth > 1e8 && bandwidth < 1e13, `${bandwidth} bytes/s`);
  const peak = machine.int8Peak();
  assert.ok(peak > 1e7 && peak < 1e14, `${peak} operations/s`);
});

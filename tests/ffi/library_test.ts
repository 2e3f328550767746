import assert from "node:assert/strict";
import { openLibrary } from "../../ffi/library.ts";
import { engineError, ErrorBuffer } from "../../ffi/status.ts";
import { abiVersion, Status } from "../../ffi/structs.ts";
import { compileC } from "./compile_c.ts";

async function withLibrary(source: string, test: (path: string) => void): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/libhearth.so`;
    await compileC(source, path, ["-shared", "-fPIC"]);
    test(path);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("openLibrary() refuses a library of another ABI version", async () => {
  const other = abiVersion + 1;
  await withLibrary(`unsigned hearth_abi_version(void) { return ${other}; }`, (path) => {
    assert.throws(() => openLibrary(path), {
      name: "EngineError",
      code: "unsupported",
      message: `Cannot use ${path}: its ABI version must be ${abiVersion}: current value is ` +
        `${other}; build the library from the same sources as this package with \`make lib\``,
    });
  });
});

Deno.test("openLibrary() refuses a library without our symbols", async () => {
  await withLibrary("int unrelated(void) { return 0; }", (path) => {
    assert.throws(() => openLibrary(path), { code: "io_error", message: /hearth_abi_version/ });
  });
});

Deno.test("openLibrary() says how to get a library where there is none", () => {
  assert.throws(() => openLibrary("/nowhere/libhearth.so"), {
    code: "io_error",
    message: /^Cannot open \/nowhere\/libhearth\.so: (?!Could not).*make lib/,
  });
});

function decoded(fields: Partial<Parameters<typeof engineError>[0]>) {
  return engineError({
    status: Status.invalid_argument,
    field: "",
    rule: "",
    value: "",
    message: "x",
    ...fields,
  });
}

Deno.test("engineError() has the parts of the sentence, the field under its option's name", () => {
  const message = "Cannot submit request: max_tokens must be >= 1: current value is 0";
  const error = decoded({ field: "max_tokens", rule: "be >= 1", value: "0", message });
  const { code, field, rule, value } = error;
  assert.deepEqual([code, field, rule, value, error.message], [
    "invalid_argument",
    "maxTokens",
    "be >= 1",
    "0",
    message,
  ]);
});

Deno.test("engineError() names no field where the library names none, or no option", () => {
  const { field, rule, value } = decoded({ status: Status.io_error });
  assert.deepEqual([field, rule, value], [undefined, undefined, undefined]);
  const tensor = decoded({ field: "tensor model.norm.weight", rule: "appear once" });
  assert.deepEqual([tensor.field, tensor.rule], [undefined, "appear once"]);
});

Deno.test("engineError() knows every status but HEARTH_NOT_FOUND by a code of its own", () => {
  const codes = Object.entries(Status)
    .filter(([, status]) => status < 0)
    .map(([name, status]) => [name, decoded({ status }).code]);
  assert.deepEqual(Object.fromEntries(codes), {
    invalid_argument: "invalid_argument",
    queue_full: "queue_full",
    closing: "closing",
    closed: "closing",
    out_of_memory: "out_of_memory",
    io_error: "io_error",
    unsupported: "unsupported",
    not_found: "internal",
    not_ready: "not_ready",
    deadline: "deadline",
    internal: "internal",
    device_lost: "device_lost",
  });
});

Deno.test("ErrorBuffer throws what the library wrote, and nothing after success", () => {
  const { symbols } = openLibrary();
  const error = new ErrorBuffer();
  error.unwrap(Status.ok);
  const status = symbols.hearth_step(0n, null, error.bytes);
  assert.throws(() => error.unwrap(status), {
    code: "invalid_argument",
    field: "engine",
    rule: "not be NULL",
    value: undefined,
    message: "Cannot step: engine must not be NULL",
  });
  error.unwrap(Status.ok);
});

import assert from "node:assert/strict";
import { openLibrary } from "../../ffi/library.ts";
import { engineError } from "../../ffi/status.ts";
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
    message: /^Cannot open \/nowhere\/libhearth\.so: .*make lib/,
  });
});

Deno.test("engineError() takes the field out of the message", () => {
  const message = "Cannot submit request: max_tokens must be >= 1: current value is 0";
  const error = engineError(Status.INVALID_ARGUMENT, message);
  assert.deepEqual([error.code, error.message, error.param], [
    "invalid_argument",
    message,
    "maxTokens",
  ]);
});

Deno.test("engineError() names no field where the message names none", () => {
  assert.equal(engineError(Status.IO_ERROR, "Cannot read x: it must be here").param, undefined);
  assert.equal(engineError(Status.INVALID_ARGUMENT, "Cannot open").param, undefined);
});

Deno.test("engineError() knows every status but HEARTH_NOT_FOUND by a code of its own", () => {
  const codes = Object.entries(Status)
    .filter(([, status]) => status < 0)
    .map(([name, status]) => [name, engineError(status, "x").code]);
  assert.deepEqual(Object.fromEntries(codes), {
    INVALID_ARGUMENT: "invalid_argument",
    QUEUE_FULL: "queue_full",
    CLOSING: "closing",
    CLOSED: "closing",
    OUT_OF_MEMORY: "out_of_memory",
    DEVICE_LOST: "device_lost",
    IO_ERROR: "io_error",
    UNSUPPORTED: "unsupported",
    NOT_FOUND: "internal",
    NOT_READY: "not_ready",
    DEADLINE: "deadline",
    DEVICE_LOST: "device_lost",
    INTERNAL: "internal",
  });
});

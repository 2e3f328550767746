import assert from "node:assert/strict";
import { Ops } from "../../ffi/ops.ts";

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

import assert from "node:assert/strict";
import { encodeFields } from "../../ffi/encode_fields.ts";
import { ENGINE_OPTIONS } from "../../ffi/engine_options.ts";
import { type Fields, snakeCase } from "../../ffi/field.ts";
import { REQUEST_FIELDS } from "../../ffi/request_fields.ts";
import { DType, EngineOptions, Isa, LoadFormat, RequestOptions } from "../../ffi/structs.ts";

/** Fields of a struct, in C's order, that say something and that no entry of a table fills. */
function restOf(struct: typeof EngineOptions | typeof RequestOptions, fields: Fields): string[] {
  const filled = new Set<string | null>(
    Object.entries(fields).map(([name, { inC = snakeCase(name) }]) => inC),
  ).add("size").add("reserved");
  return struct.fields.map(({ name }) => name).filter((name) => !filled.has(name));
}

Deno.test("Every scalar of C's options has an entry, but for what the caller makes", () => {
  assert.deepEqual(restOf(EngineOptions, ENGINE_OPTIONS), [
    "device_kind",
    "device_index",
    "manual",
    "flat_bytes",
    "memory_limit_bytes",
    "num_tensors",
    "num_files",
    "groups_offset",
    "groups_count",
    "max_step_ms",
  ]);
  assert.deepEqual(restOf(RequestOptions, REQUEST_FIELDS), [
    "seed",
    "has_seed",
    "salt",
    "stop_ids_offset",
    "stop_ids_count",
    "logit_bias_offset",
    "logit_bias_count",
    "bad_words_offset",
    "bad_words_count",
    "flat_bytes",
    "caller",
  ]);
});

Deno.test("encodeFields() writes 0 and the codes of defaults where nothing is said", () => {
  const encoded = encodeFields(EngineOptions, ENGINE_OPTIONS, {});
  const said = Object.entries(encoded).filter(([, value]) => Number(value) !== 0);
  assert.deepEqual(said, [["activation_dtype", DType.auto], ["kv_cache_dtype", DType.auto]]);
});

Deno.test("encodeFields() writes numbers, codes and what a switch's default is not", () => {
  const encoded = encodeFields(EngineOptions, ENGINE_OPTIONS, {
    numThreads: 3,
    isa: "avx2",
    activationDtype: "fp32",
    blockSize: 32,
    kvCacheMemoryBytes: 2 ** 40,
    gpuMemoryUtilization: 0.5,
    loadFormat: "dummy",
    enablePrefixCaching: false,
  });
  const read = EngineOptions.decode(new DataView(EngineOptions.encode(encoded).buffer));
  assert.equal(read.num_threads, 3);
  assert.equal(read.isa, Isa.avx2);
  assert.equal(read.activation_dtype, DType.f32);
  assert.equal(read.block_size, 32);
  assert.equal(read.kv_cache_memory_bytes, 2n ** 40n);
  assert.equal(read.gpu_memory_utilization, 0.5);
  assert.equal(read.load_format, LoadFormat.dummy);
  assert.equal(read.disable_prefix_caching, 1);
  const shared = encodeFields(EngineOptions, ENGINE_OPTIONS, { enablePrefixCaching: true });
  assert.equal(shared.disable_prefix_caching, 0);
});

Deno.test("encodeFields() refuses an entry that the struct has no field for", () => {
  const fields: Fields = { tail: { kind: "integer", min: 0, doc: "Of nothing" } };
  assert.throws(() => encodeFields(RequestOptions, fields, {}), {
    message: "Cannot encode tail: hearth_request_options has no field tail",
  });
});

/**
 * The functions of `csrc/hearth.h`, the C type on each line. Deno does not notice an `i64` declared as
 * `i32`: `tests/ffi/prototypes_test.ts` compares every line with the header.
 *
 * Handles are `u64` instead of `pointer`: the same register in the C calling conventions of x86-64
 * and arm64, and a bigint can be read out of a buffer, where making a `Deno.PointerObject` asks for
 * blanket `--allow-ffi`.
 *
 * @module
 */

/** What `Deno.dlopen` binds. */
export const symbols = {
  hearth_abi_version: { parameters: [], result: "u32" },
  hearth_build_info: {
    parameters: [
      "buffer", // char *text
      "u32", // uint32_t capacity
    ],
    result: "i32", // length without NUL, as snprintf
  },
  hearth_devices: {
    parameters: [
      "buffer", // hearth_device *devices
      "u32", // uint32_t capacity, in devices
    ],
    result: "i32", // number of devices
  },
  hearth_engine_open: {
    parameters: [
      "buffer", // const hearth_engine_options *options
      "buffer", // const hearth_model_spec *spec
      "buffer", // const hearth_tensor *tensors
      "buffer", // const hearth_file *files
      "buffer", // const uint8_t *flat
      "buffer", // hearth_engine **engine
      "buffer", // char *error
      "u32", // uint32_t error_capacity
    ],
    result: "i32", // hearth_status
  },
  hearth_engine_stop: {
    parameters: [
      "u64", // hearth_engine *engine
      "u32", // uint32_t drain
    ],
    result: "void",
  },
  hearth_engine_close: {
    parameters: [
      "u64", // hearth_engine *engine
    ],
    result: "void",
  },
  hearth_engine_describe: {
    parameters: [
      "u64", // hearth_engine *engine
      "buffer", // char *text
      "u32", // uint32_t capacity
    ],
    result: "i32", // length without NUL, as snprintf
  },
  hearth_submit: {
    parameters: [
      "u64", // hearth_engine *engine
      "buffer", // const uint32_t *tokens
      "u32", // uint32_t num_tokens
      "buffer", // const hearth_request_options *options
      "buffer", // const uint8_t *flat
      "buffer", // uint64_t *request
      "buffer", // char *error
      "u32", // uint32_t error_capacity
    ],
    result: "i32", // hearth_status
  },
  hearth_cancel: {
    parameters: [
      "u64", // hearth_engine *engine
      "u64", // uint64_t request
      "i32", // int32_t sequence
      "u32", // uint32_t reason
      "u32", // uint32_t keep_tokens
    ],
    result: "i32", // hearth_status
  },
  hearth_poll: {
    parameters: [
      "u64", // hearth_engine *engine
      "buffer", // hearth_event *events
      "u32", // uint32_t capacity, in events
      "buffer", // uint8_t *payload
      "u32", // uint32_t payload_capacity, in bytes
      "u32", // uint32_t timeout_ms
    ],
    result: "i32", // number of events, or a negative hearth_status
    nonblocking: true, // holds a thread of Deno's: one poll in flight, not one a request
  },
  /** The same on the calling thread: manual mode, timeout 0. */
  hearth_poll_now: {
    name: "hearth_poll",
    parameters: [
      "u64", // hearth_engine *engine
      "buffer", // hearth_event *events
      "u32", // uint32_t capacity, in events
      "buffer", // uint8_t *payload
      "u32", // uint32_t payload_capacity, in bytes
      "u32", // uint32_t timeout_ms
    ],
    result: "i32", // number of events, or a negative hearth_status
  },
  hearth_step: {
    parameters: [
      "u64", // hearth_engine *engine
      "buffer", // uint32_t *num_tokens
      "buffer", // char *error
      "u32", // uint32_t error_capacity
    ],
    result: "i32", // hearth_status
  },
  hearth_check_integrity: {
    parameters: [
      "u64", // hearth_engine *engine
      "buffer", // char *error
      "u32", // uint32_t error_capacity
    ],
    result: "i32", // hearth_status
  },
  hearth_stats: {
    parameters: [
      "u64", // hearth_engine *engine
      "buffer", // hearth_engine_stats *stats
    ],
    result: "i32", // hearth_status
  },
} as const satisfies Deno.ForeignLibraryInterface;

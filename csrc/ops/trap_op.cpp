// A device that is lost, on demand.
#include "op_device.h"

using namespace hearth;

extern "C" {

hearth_status hearth_op_trap(hearth_op_context* context, hearth_error* error) {
  return guarded(error, [&] {
    require_size(context, "context");
    require_within("device_kind", context->device_kind, HEARTH_DEVICE_AUTO, HEARTH_DEVICE_CUDA);
    require_within("device_index", context->device_index, 0, INT32_MAX);
    if (context->device_kind != HEARTH_DEVICE_CUDA) {
      throw Error(HEARTH_UNSUPPORTED, "Cannot trap", "device_kind", "be CUDA (2)",
                  std::to_string(context->device_kind));
    }
    cuda_trap(int32_t(context->device_index));
  });
}

}  // extern "C"

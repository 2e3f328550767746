// A device that is lost, on demand.
#include "op_device.h"

using namespace hearth;

extern "C" {

hearth_status hearth_op_trap(hearth_op_context* context, char* error, uint32_t error_capacity) {
  return guarded(error, error_capacity, [&] {
    require_size(context, "context");
    require_within("device_kind", context->device_kind, HEARTH_DEVICE_AUTO, HEARTH_DEVICE_CUDA);
    require_within("device_index", context->device_index, 0, INT32_MAX);
    if (context->device_kind != HEARTH_DEVICE_CUDA) {
      throw Error(HEARTH_UNSUPPORTED,
                  format("Cannot trap: device_kind must be CUDA (2): current value is %u",
                         context->device_kind));
    }
    cuda_trap(int32_t(context->device_index));
  });
}

}  // extern "C"

// What ops are held against.
#include "../backend/cpu/ceilings.h"

#include "op_device.h"

using namespace hearth;

extern "C" {

hearth_status hearth_op_read_bandwidth(hearth_op_context* context, uint64_t num_bytes,
                                       double* bytes_per_second, hearth_error* error) {
  return guarded(error, [&] {
    require_size(context, "context");
    require_within("num_bytes", int64_t(num_bytes), 1 << 20, int64_t(1) << 36);
    cpu_options(*context);
    ThreadPool pool(context->num_threads > 0 ? int(context->num_threads) : usable_cores());
    *bytes_per_second = measure_read_bandwidth(pool, num_bytes);
  });
}

hearth_status hearth_op_int8_peak(hearth_op_context* context, double* operations_per_second,
                                  hearth_error* error) {
  return guarded(error, [&] {
    require_size(context, "context");
    const CpuOptions options = cpu_options(*context);
    ThreadPool pool(options.num_threads > 0 ? int(options.num_threads) : usable_cores());
    *operations_per_second = measure_int8_peak(pool, choose_isa(options.isa));
  });
}

}  // extern "C"

#include "gate.h"

namespace hearth::gpu_tests {
namespace {

/// Runs until *is_open. One thread.
__global__ void wait_until_open(const volatile int32_t* is_open) {
  while (*is_open == 0) __nanosleep(1000);
}

}  // namespace

void Gate::enqueue(cudaStream_t stream) {
  wait_until_open<<<1, 1, 0, stream>>>(flag_.as<int32_t>());
  cuda::check(cudaGetLastError(), "Cannot close a gate");
}

}  // namespace hearth::gpu_tests

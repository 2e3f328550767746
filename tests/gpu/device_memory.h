// Vectors to the device and back. Every copy is ordered with the ops of the device's stream.
#pragma once

#include <vector>

#include "backend/cuda/cuda_device.h"

namespace hearth::gpu_tests {

/// Device memory with the values of a vector; empty for an empty one.
template <class T>
Memory upload(Device& device, const std::vector<T>& values) {
  Memory memory = device.allocate(values.size() * sizeof(T));
  device.copy_now(memory.data(), values.data(), memory.bytes());
  return memory;
}

/// What device memory holds once all ops so far are done.
template <class T>
std::vector<T> download(Device& device, const Memory& memory) {
  std::vector<T> values(memory.bytes() / sizeof(T));
  device.copy_now(values.data(), memory.data(), values.size() * sizeof(T));
  return values;
}

/// Fills device memory with one byte, behind all ops so far.
inline void fill(cuda::CudaDevice& device, const Memory& memory, uint8_t byte) {
  if (memory.bytes() == 0) return;
  cuda::check(cudaMemsetAsync(memory.data(), byte, memory.bytes(), device.stream().handle),
              "Cannot fill device memory");
}

/// Device memory that holds NaN, as fp32 and as 16-bit floats: what nobody writes shows.
inline Memory poisoned(cuda::CudaDevice& device, size_t bytes) {
  Memory memory = device.allocate(bytes);
  fill(device, memory, 0xff);
  return memory;
}

inline Memory zeroed(cuda::CudaDevice& device, size_t bytes) {
  Memory memory = device.allocate(bytes);
  fill(device, memory, 0);
  return memory;
}

/// Waits for all ops so far. Throws Error with `what` where one of them failed.
inline void finish(cuda::CudaDevice& device, const char* what) {
  cuda::check(cudaStreamSynchronize(device.stream().handle), what);
}

}  // namespace hearth::gpu_tests

// The CUDA runtime as the backend uses it: errors become Error, memory has an owner, launches are
// counted.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "../../error.h"

namespace hearth::cuda {

/// Throws Error: OUT_OF_MEMORY, or INTERNAL with what the runtime says. what: "Cannot copy
/// weights".
inline void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // else the next call would report it again
  const bool memory = status == cudaErrorMemoryAllocation;
  throw Error(memory ? HEARTH_OUT_OF_MEMORY : HEARTH_INTERNAL,
              format("%s: %s (%s)", what, cudaGetErrorString(status), cudaGetErrorName(status)));
}

/// Device memory with an owner. Not initialized.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  explicit DeviceBuffer(size_t bytes) : bytes_(bytes) {
    if (bytes > 0) check(cudaMalloc(&data_, bytes), "Cannot allocate device memory");
  }
  DeviceBuffer(DeviceBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~DeviceBuffer() { cudaFree(data_); }

  template <class T = std::byte>
  T* data() const {
    return static_cast<T*>(data_);
  }
  size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

/// Device memory full of zeros, whatever stream looks.
inline DeviceBuffer zeroed_buffer(size_t bytes) {
  DeviceBuffer buffer(bytes);
  check(cudaMemset(buffer.data(), 0, bytes), "Cannot fill device memory");
  check(cudaDeviceSynchronize(), "Cannot fill device memory");
  return buffer;
}

/// Page-locked host memory with an owner; the device reads and writes it at the same address.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  explicit PinnedBuffer(size_t bytes) : bytes_(bytes) {
    if (bytes > 0) check(cudaHostAlloc(&data_, bytes, cudaHostAllocMapped), "Cannot pin memory");
  }
  PinnedBuffer(PinnedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~PinnedBuffer() { cudaFreeHost(data_); }

  template <class T = std::byte>
  T* data() const {
    return static_cast<T*>(data_);
  }
  size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

/// Where ops go: a stream of one device, and what must be known of that device to choose kernels.
struct Stream {
  cudaStream_t handle = nullptr;
  int32_t compute_capability = 0;  // 90 for 9.0
  int32_t num_multiprocessors = 0;
  /// Kernels launched so far, by launch().
  uint64_t num_launches = 0;
  /// An int32_t by which the CTAs of a kernel share out work: 0 before and after each.
  DeviceBuffer counter;

  bool is_hopper() const { return compute_capability == 90; }
  bool has_tensor_cores() const { return compute_capability >= 80; }
};

/// Launches a kernel. It may begin before the one ahead of it in the stream has ended (programmatic
/// dependent launch): every kernel calls wait_for_previous() (ptx.cuh) before it reads what another
/// kernel wrote or writes what another may still read, and all its threads call it. Shared memory
/// beyond 48 KiB needs allow_shared_memory() once. cluster: CTAs that run side by side, along x: a
/// divisor of the grid, and more than one on Hopper only.
template <class... Parameters, class... Arguments>
void launch_clusters(Stream& stream, void (*kernel)(Parameters...), int32_t cluster, dim3 grid,
                     dim3 block, size_t shared_bytes, Arguments&&... arguments) {
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream.handle;
  cudaLaunchAttribute attributes[2] = {};
  config.attrs = attributes;
  if (stream.compute_capability >= 90) {
    cudaLaunchAttribute& overlap = attributes[config.numAttrs++];
    overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    overlap.val.programmaticStreamSerializationAllowed = 1;
  }
  if (cluster > 1) {
    cudaLaunchAttribute& dimension = attributes[config.numAttrs++];
    dimension.id = cudaLaunchAttributeClusterDimension;
    dimension.val.clusterDim.x = cluster;
    dimension.val.clusterDim.y = 1;
    dimension.val.clusterDim.z = 1;
  }
  check(cudaLaunchKernelEx(&config, kernel, Parameters(std::forward<Arguments>(arguments))...),
        "Cannot launch a kernel");
  ++stream.num_launches;
}

/// The same without clusters.
template <class... Parameters, class... Arguments>
void launch(Stream& stream, void (*kernel)(Parameters...), dim3 grid, dim3 block,
            size_t shared_bytes, Arguments&&... arguments) {
  launch_clusters(stream, kernel, 1, grid, block, shared_bytes,
                  std::forward<Arguments>(arguments)...);
}

template <class... Parameters>
void allow_shared_memory(void (*kernel)(Parameters...), size_t bytes) {
  check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                             cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes)),
        "Cannot reserve shared memory");
}

}  // namespace hearth::cuda

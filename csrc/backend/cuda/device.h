// The CUDA runtime as the backend uses it: errors become Error, memory and handles have an owner,
// launches are counted.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "../../error.h"
#include "loaded_code.h"

namespace hearth::cuda {

/// Whether the context is unusable from then on, and with it the device to this process: what the
/// runtime documents as leaving the process in an inconsistent state, broken hardware, and a
/// context or a client that is no more. cudaErrorUnknown is what a device that fell off the bus
/// answers.
constexpr bool is_device_lost(cudaError_t status) {
  switch (status) {
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContained:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorContextIsDestroyed:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorTensorMemoryLeak:
    case cudaErrorMpsClientTerminated:
    case cudaErrorExternalDevice:
    case cudaErrorUnknown: return true;
    default: return false;
  }
}

/// Throws DeviceLost, or Error: OUT_OF_MEMORY, or INTERNAL with what the runtime says. what:
/// "Cannot copy weights".
inline void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // else the next call would report it again
  const std::string message =
      format("%s: %s (%s)", what, cudaGetErrorString(status), cudaGetErrorName(status));
  if (is_device_lost(status)) throw DeviceLost(message);
  throw Error(status == cudaErrorMemoryAllocation ? HEARTH_OUT_OF_MEMORY : HEARTH_INTERNAL,
              message);
}

struct DeviceMemory {
  static constexpr const char* kRefusal = "Cannot allocate device memory";
  static cudaError_t allocate(void** data, size_t bytes) { return cudaMalloc(data, bytes); }
  static void free(void* data) { cudaFree(data); }
};

/// Page-locked host memory; the device reads and writes it at the same address.
struct PinnedMemory {
  static constexpr const char* kRefusal = "Cannot pin memory";
  static cudaError_t allocate(void** data, size_t bytes) {
    return cudaHostAlloc(data, bytes, cudaHostAllocMapped);
  }
  static void free(void* data) { cudaFreeHost(data); }
};

/// Memory with an owner. Not initialized.
template <class Memory>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t bytes) : bytes_(bytes) {
    if (bytes > 0) check(Memory::allocate(&data_, bytes), Memory::kRefusal);
  }
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Buffer() {
    if (data_ != nullptr) Memory::free(data_);
  }

  template <class T = std::byte>
  T* data() const {
    return static_cast<T*>(data_);
  }
  size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};
using DeviceBuffer = Buffer<DeviceMemory>;
using PinnedBuffer = Buffer<PinnedMemory>;

/// A handle of the runtime with an owner, null until it is given one.
template <class Handle, cudaError_t (*destroy)(Handle)>
class OwnedHandle {
 public:
  OwnedHandle() = default;
  explicit OwnedHandle(Handle handle) : handle_(handle) {}
  OwnedHandle(OwnedHandle&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  OwnedHandle& operator=(OwnedHandle&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~OwnedHandle() {
    if (handle_ != nullptr) destroy(handle_);
  }

  operator Handle() const { return handle_; }

 private:
  Handle handle_ = nullptr;
};
using StreamHandle = OwnedHandle<cudaStream_t, cudaStreamDestroy>;
using Event = OwnedHandle<cudaEvent_t, cudaEventDestroy>;

/// On the current device. flags: cudaStreamNonBlocking, or cudaStreamDefault: ordered with copies
/// and fills that name no stream.
inline StreamHandle make_stream(unsigned flags = cudaStreamNonBlocking) {
  cudaStream_t handle = nullptr;
  check(cudaStreamCreateWithFlags(&handle, flags), "Cannot create a stream");
  return StreamHandle(handle);
}

/// On the current device. flags: cudaEventDisableTiming where nobody asks how long it took.
inline Event make_event(unsigned flags = cudaEventDefault) {
  cudaEvent_t handle = nullptr;
  check(cudaEventCreateWithFlags(&handle, flags), "Cannot create an event");
  return Event(handle);
}

/// Fills device memory with zeros. In a stream of its own: to wait for the whole device would break
/// what another engine records there.
inline void fill_with_zeros(void* data, size_t bytes) {
  if (bytes == 0) return;
  const StreamHandle stream = make_stream();
  check(cudaMemsetAsync(data, 0, bytes, stream), "Cannot fill device memory");
  check(cudaStreamSynchronize(stream), "Cannot fill device memory");
}

/// Device memory full of zeros.
inline DeviceBuffer zeroed_buffer(size_t bytes) {
  DeviceBuffer buffer(bytes);
  fill_with_zeros(buffer.data(), bytes);
  return buffer;
}

/// Where ops go: a stream of one device, and what must be known of that device to choose kernels.
struct Stream {
  /// Goes nowhere.
  Stream() = default;
  /// Of the current device. flags: as make_stream().
  Stream(const LoadedCode& code, int32_t num_multiprocessors,
         unsigned flags = cudaStreamNonBlocking)
      : handle(make_stream(flags)), code(code), num_multiprocessors(num_multiprocessors),
        counter(zeroed_buffer(sizeof(int32_t))) {}

  StreamHandle handle;
  LoadedCode code;
  int32_t num_multiprocessors = 0;
  /// Kernels launched so far, by launch().
  uint64_t num_launches = 0;
  /// An int32_t by which the CTAs of a kernel share out work: 0 before and after each.
  DeviceBuffer counter;

  bool is_hopper() const { return code.has_hopper_bodies; }
  bool has_tensor_cores() const { return code.has_tensor_cores(); }
};

/// Bytes of a kernel's arguments at most: every launch copies them, and every recorded step keeps
/// them.
inline constexpr size_t kMaxArgumentBytes = 512;

/// Launches a kernel. It may begin before the one ahead of it in the stream has ended (programmatic
/// dependent launch) where the code that was loaded waits: every kernel calls wait_for_previous()
/// (ptx.cuh) before it reads what another kernel wrote or writes what another may still read, and
/// all its threads call it. Shared memory beyond 48 KiB needs allow_shared_memory() before.
/// cluster: CTAs that run side by side, along x: a divisor of the grid, and more than one where
/// stream.is_hopper() only.
template <class... Parameters, class... Arguments>
void launch_clusters(Stream& stream, void (*kernel)(Parameters...), int32_t cluster, dim3 grid,
                     dim3 block, size_t shared_bytes, Arguments&&... arguments) {
  static_assert((sizeof(Parameters) + ... + 0) < kMaxArgumentBytes);
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream.handle;
  cudaLaunchAttribute attributes[2] = {};
  config.attrs = attributes;
  if (stream.code.waits_for_previous) {
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

// A backend: a device, how weights lie on it, its samplers and its ops.
//
//   Device     memory by tier, copies with tickets          Samplers   state of sequences that draw
//   Packer     how weights and KV lie                       Ops        what a forward pass is made of
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "device.h"
#include "ops.h"
#include "packer.h"
#include "samplers.h"

namespace hearth {

struct Backend {
  std::unique_ptr<Device> device;  // outlives the others
  std::unique_ptr<Packer> packer;
  std::unique_ptr<Samplers> samplers;
  std::unique_ptr<Ops> ops;

  std::string describe() const { return device->describe() + ops->describe(); }
};

/// HEARTH_ISA_*, 0 and HEARTH_DTYPE_AUTO as in hearth_engine_options. Throws
/// Error(HEARTH_UNSUPPORTED) for an instruction path that this CPU lacks.
struct CpuOptions {
  uint32_t isa = HEARTH_ISA_AUTO;
  uint32_t num_threads = 0;
  /// kF32 or kInt8: how linear ops over quantized weights take their activations.
  DType activation_dtype = DType::kF32;
};
Backend make_cpu_backend(const CpuOptions& options);
/// The same over a device of the caller's, whose memory the CPU can read: for tests.
Backend make_cpu_backend(const CpuOptions& options, std::unique_ptr<Device> device);

struct CudaOptions {
  int32_t device_index = 0;
  /// fp32 activations and products, as the goldens want it. Else linear ops and attention take
  /// their inputs in the weights' 16-bit type. fp32 weights and GPUs before Ampere are always
  /// exact.
  bool exact = false;
  /// Kernels for more than this are not chosen, 0: all that the device runs. For tests.
  int32_t max_compute_capability = 0;
};
/// Whether this library has it.
bool built_with_cuda();
/// What it was compiled for, "sm_80 sm_90a compute_80" (compute_: PTX); empty without CUDA.
const char* cuda_architectures();
/// Throws Error(HEARTH_UNSUPPORTED) where this library has no CUDA or the machine no such device,
/// or one that runs none of its code.
Backend make_cuda_backend(const CudaOptions& options);
/// The CUDA devices of this machine, in the driver's order; empty without a driver or without CUDA
/// in this library. Takes nothing of any of them. free_bytes is 0: read_free_bytes() fills it in.
std::vector<hearth_device> cuda_devices();
/// Fills free_bytes of CUDA devices in, without taking anything of them. Where the driver does not
/// tell (no NVML), that is memory_bytes.
void read_free_bytes(std::span<hearth_device> devices);
/// Bytes free on one device, which from then on holds this process's context (some hundred MB, not
/// among them). Throws Error.
uint64_t cuda_free_bytes(int32_t device_index);
/// Launches a kernel that traps, so that the device is lost to this process; throws DeviceLost. For
/// tests. Throws Error(HEARTH_UNSUPPORTED) as make_cuda_backend().
void cuda_trap(int32_t device_index);

}  // namespace hearth

#include "probe.h"

#include "../backend.h"
#include "device.h"
#include "wgmma.cuh"

namespace hearth::cuda {
namespace {

__global__ void probe_kernel([[maybe_unused]] LoadedCode* code) {
#ifdef __CUDA_ARCH__  // else the host's pass, which has no body to compile
  code->compute_capability = __CUDA_ARCH__ / 10;
  code->has_hopper_bodies = HEARTH_HOPPER;
  code->waits_for_previous = HEARTH_WAITS_FOR_PREVIOUS;
#endif
}

__global__ void trap_kernel() { __trap(); }

// What a launch answers where a library has nothing that this device and driver can run.
bool is_missing_code(cudaError_t status) {
  switch (status) {
    case cudaErrorInvalidDeviceFunction:
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorInvalidPtx:
    case cudaErrorUnsupportedPtxVersion:
    case cudaErrorJitCompilerNotFound:
    case cudaErrorJitCompilationDisabled: return true;
    default: return false;
  }
}

cudaError_t finish_launch() {
  const cudaError_t status = cudaGetLastError();
  return status == cudaSuccess ? cudaDeviceSynchronize() : status;
}

}  // namespace

LoadedCode probe_code(const std::string& device) {
  const PinnedBuffer code(sizeof(LoadedCode));
  probe_kernel<<<1, 1>>>(code.data<LoadedCode>());
  const cudaError_t status = finish_launch();
  if (is_missing_code(status)) {
    throw Error(HEARTH_UNSUPPORTED,
                format("Cannot open device: this library has CUDA code for %s, of which %s runs "
                       "none: %s (%s)",
                       cuda_architectures(), device.c_str(), cudaGetErrorString(status),
                       cudaGetErrorName(status)));
  }
  check(status, "Cannot open device");
  return *code.data<LoadedCode>();
}

void trap() {
  trap_kernel<<<1, 1>>>();
  check(finish_launch(), "Cannot trap");
  throw Error(HEARTH_INTERNAL, "Cannot trap: the kernel that traps has ended");
}

}  // namespace hearth::cuda

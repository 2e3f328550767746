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

// In a stream of its own: another engine of this process may be recording.
template <class... Arguments>
cudaError_t run(void (*kernel)(Arguments...), Arguments... arguments) {
  const StreamHandle stream = make_stream();
  kernel<<<1, 1, 0, stream>>>(arguments...);
  const cudaError_t status = cudaGetLastError();
  return status == cudaSuccess ? cudaStreamSynchronize(stream) : status;
}

}  // namespace

LoadedCode probe_code(const std::string& device) {
  const PinnedBuffer code(sizeof(LoadedCode));
  const cudaError_t status = run(probe_kernel, code.data<LoadedCode>());
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
  check(run(trap_kernel), "Cannot go on");
  throw Error(HEARTH_INTERNAL, "Cannot trap: the kernel that traps has ended");
}

}  // namespace hearth::cuda

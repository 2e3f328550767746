// Whether this library has the CUDA backend and for which devices, and what stands for it where it
// has not.
#include "../../error.h"
#include "../backend.h"

namespace hearth {

#ifdef HEARTH_CUDA_ARCHITECTURES

bool built_with_cuda() { return true; }
const char* cuda_architectures() { return HEARTH_CUDA_ARCHITECTURES; }

#else

namespace {

[[noreturn]] void refuse() {
  throw Error(HEARTH_UNSUPPORTED, "Cannot use CUDA: this library is built without CUDA");
}

}  // namespace

bool built_with_cuda() { return false; }
const char* cuda_architectures() { return ""; }
Backend make_cuda_backend(const CudaOptions&) { refuse(); }
std::vector<hearth_device> cuda_devices() { return {}; }
void read_free_bytes(std::span<hearth_device>) {}
uint64_t cuda_free_bytes(int32_t) { refuse(); }
void cuda_trap(int32_t) { refuse(); }

#endif

}  // namespace hearth

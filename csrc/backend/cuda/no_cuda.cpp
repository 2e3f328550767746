// Whether this library has the CUDA backend, and what stands for it where it has not.
#include "../../error.h"
#include "../backend.h"

namespace hearth {

#ifdef HEARTH_CUDA

bool built_with_cuda() { return true; }

#else

bool built_with_cuda() { return false; }

Backend make_cuda_backend(const CudaOptions&) {
  throw Error(HEARTH_UNSUPPORTED, "Cannot use CUDA: this library is built without CUDA");
}

std::vector<hearth_device> cuda_devices() { return {}; }

#endif

}  // namespace hearth

#include "vector_kernels.h"

namespace hearth {

const VectorKernels& vector_kernels(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::kAmx:
    case Isa::kAvx512: return kVectorKernelsAvx512;
    case Isa::kAvx2: return kVectorKernelsAvx2;
#endif
    default: return kVectorKernelsGeneric;
  }
}

}  // namespace hearth

#include "kernels.h"

#include "isa.h"

namespace hearth {

const Kernels& kernels_of(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::kAmx: {
      static const Kernels amx = amx_kernels();
      return amx;
    }
    case Isa::kAvx512: return kKernelsAvx512;
    case Isa::kAvx2: return kKernelsAvx2;
#endif
    default: return kKernelsGeneric;
  }
}

}  // namespace hearth

#include "vector_kernels.h"

#include "floats16_avx512.h"
// The kernels are compiled here for these instructions.
#include "attention_kernel.h"
#include "sample_kernel.h"

namespace hearth {

const VectorKernels kVectorKernelsAvx512 = {
    "avx512", kMaxRows, attend, merge, finish, halves_from_floats, block_maxima, weigh,
};

}  // namespace hearth

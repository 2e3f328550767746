#include "vector_kernels.h"

#include "floats16_generic.h"
// The kernels are compiled here for these instructions.
#include "attention_kernel.h"
#include "sample_kernel.h"

namespace hearth {

const VectorKernels kVectorKernelsGeneric = {
    "generic", kMaxRows, attend, merge, finish, halves_from_floats, block_maxima, weigh,
};

}  // namespace hearth

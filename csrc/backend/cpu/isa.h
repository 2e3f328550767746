// Instruction paths: which kernels this CPU can run.
#pragma once

#include <cstdint>

#include "../../hearth.h"

namespace hearth {

/// Worst to best, values as HEARTH_ISA_*.
enum class Isa : uint32_t {
  kGeneric = HEARTH_ISA_GENERIC,
  kAvx2 = HEARTH_ISA_AVX2,
  kAvx512 = HEARTH_ISA_AVX512,
  kAmx = HEARTH_ISA_AMX,
};

/// The best path that CPU and operating system let this process use. Asks Linux for the AMX
/// registers where the CPU has them.
Isa best_isa();

/// What a HEARTH_ISA_* option stands for: AUTO is best_isa(). Throws Error(HEARTH_UNSUPPORTED) for
/// a path that this CPU lacks, Error(HEARTH_INVALID_ARGUMENT) for an unknown value.
Isa choose_isa(uint32_t option);

/// "generic", "avx2", "avx512", "amx"
const char* isa_name(Isa isa);

}  // namespace hearth

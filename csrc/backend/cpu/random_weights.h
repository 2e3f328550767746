// Weights that nobody trained.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../backend.h"

namespace hearth {

/// Rows as in a file of this format, values uniform with a deviation of about 1 / sqrt(cols).
void random_rows(SourceFormat format, int32_t cols, int32_t num_rows, uint64_t seed, std::byte* to);

}  // namespace hearth

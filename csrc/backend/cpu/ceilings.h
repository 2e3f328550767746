// What this machine can do at the most, measured: the figures that kernels are held against.
#pragma once

#include <cstddef>

#include "isa.h"
#include "thread_pool.h"

namespace hearth {

/// Bytes a second that the pool's threads read together from a buffer of `bytes` (take more than
/// the last-level cache holds: 256 MiB or more), best of several passes.
double measure_read_bandwidth(ThreadPool& pool, size_t bytes);

/// Operations a second (2 per multiply-add) of the int8 multiply-add that isa's linear kernels are
/// made of, in registers, on all of the pool's threads, best of several passes.
double measure_int8_peak(ThreadPool& pool, Isa isa);

}  // namespace hearth

// Allocations that fail on demand, in one thread: memory that runs out, as the code under test
// sees it.
#pragma once

#include <cstdint>

namespace hearth::test {

struct AllocationFault {
  int64_t num_left = 0;     // allocations that still succeed
  bool lasts = true;        // all behind them fail, not the next one alone
  bool has_struck = false;  // out: one has failed
};

/// Puts a fault in force in the calling thread, in the place of the one before; nullptr: none.
/// The fault is the caller's and lives as long as it is in force.
void set_allocation_fault(AllocationFault* fault);

}  // namespace hearth::test

// What this process may use of its machine, within the limits of its cgroup.
#pragma once

#include <cstdint>
#include <string>

namespace hearth {

struct Machine {
  uint32_t num_cores;
  uint64_t memory_bytes;  // total
  uint64_t free_bytes;    // what can still be taken, caches counted as free
  std::string cpu_name;
};

/// Reads /proc and /sys/fs/cgroup (versions 1 and 2). What cannot be read sets no limit.
Machine read_machine();

}  // namespace hearth

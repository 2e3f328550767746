// What this process may use of its machine: cores and memory, within the limits of its cgroup.
#pragma once

#include <cstdint>
#include <string>

namespace hearth {

struct Machine {
  uint32_t num_cores;     // affinity mask, and the cgroup's quota rounded up; at least 1
  uint64_t memory_bytes;  // total
  uint64_t free_bytes;    // what can still be taken, caches counted as free
  std::string cpu_name;
};

/// Reads affinity, /proc and /sys/fs/cgroup (versions 1 and 2). What cannot be read sets no limit.
Machine read_machine();

}  // namespace hearth

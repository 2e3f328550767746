// A kernel that waits for the host: what is behind it in its queue cannot have begun, whatever else
// runs, so that an edge that is missing shows each time and not now and then.
#pragma once

#include <atomic>
#include <chrono>
#include <thread>

#include "device_memory.h"

namespace hearth::gpu_tests {

class Gate {
 public:
  explicit Gate(cuda::CudaDevice& device)
      : device_(device), flag_(device.allocate(sizeof(int32_t), Tier::kHost)) {
    is_open().store(0);
  }
  /// Else a check that has thrown would leave the device waiting for ever.
  ~Gate() { open(); }

  /// Ahead of all ops from now on.
  void hold_ops() { enqueue(device_.stream().handle); }
  /// What waits for this ticket waits for the gate.
  Ticket hold_copies() {
    return device_.enqueue({}, [&](cudaStream_t stream) { enqueue(stream); });
  }
  void open() { is_open().store(1); }

 private:
  std::atomic<int32_t>& is_open() { return *flag_.as<std::atomic<int32_t>>(); }
  void enqueue(cudaStream_t stream);

  cuda::CudaDevice& device_;
  Memory flag_;
};

/// Whether a ticket stays undone for a while, in which everything that nothing holds back ends.
inline bool is_held_back(Device& device, Ticket ticket) {
  for (int i = 0; i < 10; ++i) {
    if (device.is_done(ticket)) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

}  // namespace hearth::gpu_tests

// Host memory as a device: copies are done when copy() returns, so that every ticket is past.
#pragma once

#include <atomic>

#include "../device.h"

namespace hearth {

class CpuDevice final : public Device {
 public:
  std::string describe() const override { return "device: cpu\n"; }
  Ticket copy(void* to, const void* from, size_t bytes, Ticket after) override;
  void wait_for(Ticket) override {}
  Ticket mark() override { return {}; }
  bool is_done(Ticket) override { return true; }
  void wait(Ticket) override {}
  uint64_t num_allocations() const override { return num_allocations_; }

 private:
  std::byte* allocate_bytes(size_t bytes, Tier tier) override;
  void free_bytes(std::byte* data, Tier tier) override;

  std::atomic<uint64_t> num_allocations_{0};
};

}  // namespace hearth

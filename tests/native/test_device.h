// A device whose copies are late: code that waits for no ticket, or for the wrong one, is seen.
//
// DESIGN
//   Late     A copy starts when its `after` is done, and reads its source then. It ends when
//            somebody waits for it, or for what comes after it; else by chance, in some later call.
//            The seed decides which copies end there, and in which order.
//   Poison   From its start to its end, both ends of a copy hold poison: NaN as a number, no page as
//            an address. Then the source has its bytes back, and the target has them too; the target
//            of a copy that failed keeps the poison. Memory that was just allocated holds it too.
//   Faults   An end that somebody writes before the copy's own end, two copies that meet, memory
//            that is freed while a copy needs it, a copy that nobody waited for: DeviceFaults tells.
//   Ops      They run at once, so that what they were called for is done when mark() returns, and
//            wait_for() ends the copy before it returns.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/cpu_device.h"

namespace hearth::test {

/// What was done against the contract of device.h. Outlives the device, whose owner may be what is
/// tested. Any thread.
class DeviceFaults {
 public:
  void add(const std::string& what);
  bool empty() const;
  /// Fails the test with the first fault and their number.
  void check() const;

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> faults_;
};

/// Any thread.
class TestDevice final : public Device {
 public:
  /// Fills the target from what the source held when the work started.
  using Work = std::function<void(std::byte* to, const std::byte* from)>;

  TestDevice(uint64_t seed, DeviceFaults& faults);
  /// Copies that are left are faults, and are not touched.
  ~TestDevice() override;

  std::string describe() const override;
  Ticket copy(void* to, const void* from, size_t bytes, Ticket after = {}) override;
  void wait_for(Ticket ticket) override;
  Ticket mark() override;
  bool is_done(Ticket ticket) override;
  void wait(Ticket ticket) override;
  uint64_t num_allocations() const override { return memory_.num_allocations(); }

  /// As copy(), with other work than copying: packing on a device is as late as a copy.
  Ticket run(void* to, size_t to_bytes, const void* from, size_t from_bytes, Work work,
             Ticket after);

  /// The n-th copy from now on, counted from 1, fails: with Error(HEARTH_INTERNAL) and this text.
  void fail_copy(uint64_t n);
  static constexpr const char* kFailure = "Cannot copy: the test device was told to fail";

  /// Called with the number of each copy, from 1, before it is taken.
  std::function<void(uint64_t)> on_copy;
  /// Device.h lets others read a source: false for code that does. A write is still found.
  bool poisons_sources = true;

  uint64_t num_copies() const;
  /// Copies that have not ended.
  size_t num_pending() const;

 private:
  struct Range {
    std::byte* data;
    size_t bytes;
  };
  struct Copy {
    Range to, from;
    Work work;
    uint64_t after;  // number of another; 0: none
    bool fails;
    bool has_started = false;
    bool source_is_poisoned = false;
    std::vector<std::byte> source;  // what `from` held at the start
  };

  std::byte* allocate_bytes(size_t bytes, Tier tier) override;
  void free_bytes(std::byte* data, Tier tier) override;

  // All under mutex_.
  void start(uint64_t number);
  void end(uint64_t number);
  void end_some();
  void check_failed(uint64_t number) const;
  std::vector<std::byte> read(Range range) const;
  bool is_allocated(Range range) const;
  void add_fault(uint64_t number, const std::string& what) const;
  static Range overlap(Range a, Range b);
  static void poison(Range range);
  static bool is_poison(Range range);

  const uint64_t seed_;
  DeviceFaults& faults_;
  CpuDevice memory_;
  mutable std::mutex mutex_;
  std::mt19937_64 random_;
  std::map<const std::byte*, Memory> allocations_;
  uint64_t num_copies_ = 0;
  std::map<uint64_t, Copy> copies_;  // that have not ended, by number
  std::set<uint64_t> to_fail_, failed_;
};

/// The CPU's backend over this device, which packs late too.
Backend make_test_backend(const CpuOptions& options, std::unique_ptr<TestDevice> device);

}  // namespace hearth::test

// The memory of a device, and copies between its tiers that run beside its ops.
//
// DESIGN
//   Tickets   copy() returns at once with a ticket: a point in the device's work. Until the ticket
//             is done nobody writes what is copied from (it may be read), and nobody touches what
//             is copied to.
//   Order     Copies are ordered with nothing but what their tickets say, not even with each other.
//             `after` holds a copy back until another ticket is done. wait_for() holds back the ops
//             behind it; mark() is a ticket for the ops ahead of it. So a page that ops read is
//             filled again by
//
//               ops that read the page ─ mark() ─ copy(page, ..., after) ─ wait_for() ─ ops
//
//             These edges are full ones: no op that is held back has begun to read.
//   Threads   allocate(), free(), copy(), is_done() and wait() may be called by any thread;
//             wait_for() and mark() by the thread that calls ops.
//   Failure   A copy that failed, or that comes after one, is told by is_done() and wait(), which
//             throw what happened; it touches neither end any more. wait_for() need not tell.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "../error.h"

namespace hearth {

/// Where memory lies. kHost: the device's copies reach it at full speed (CUDA: page-locked).
enum class Tier { kDevice, kHost };

/// A point in the work of a device. The default one is past.
struct Ticket {
  uint32_t queue = 0;   // the device's own number of what works in order
  uint64_t number = 0;  // in that queue, from 1; 0: past
};

class Memory;

class Device {
 public:
  virtual ~Device() = default;

  /// `key: value` lines.
  virtual std::string describe() const = 0;

  /// Memory that is not initialized, aligned to 64 bytes at the least. 0 bytes are none. Throws
  /// Error(HEARTH_OUT_OF_MEMORY). The device outlives it.
  Memory allocate(size_t bytes, Tier tier = Tier::kDevice);

  /// Copies bytes of any tier, or of other host memory, to any tier once `after` is done.
  virtual Ticket copy(void* to, const void* from, size_t bytes, Ticket after = {}) = 0;

  /// Ops that are called from now on see what the ticket stands for.
  virtual void wait_for(Ticket ticket) = 0;
  /// Done when the ops that were called so far are.
  virtual Ticket mark() = 0;

  virtual bool is_done(Ticket ticket) = 0;
  /// Returns once the ticket is done.
  virtual void wait(Ticket ticket) = 0;

  /// How often memory was allocated so far.
  virtual uint64_t num_allocations() const = 0;

  /// copy() behind all ops, done when this returns: for tests and small tables. By the thread that
  /// calls ops.
  void copy_now(void* to, const void* from, size_t bytes) { wait(copy(to, from, bytes, mark())); }

 private:
  friend class Memory;
  virtual std::byte* allocate_bytes(size_t bytes, Tier tier) = 0;
  /// Does not throw.
  virtual void free_bytes(std::byte* data, Tier tier) = 0;
};

/// Memory of a device with an owner.
class Memory {
 public:
  Memory() = default;
  Memory(Memory&& other) noexcept
      : device_(std::exchange(other.device_, nullptr)), data_(std::exchange(other.data_, nullptr)),
        bytes_(std::exchange(other.bytes_, 0)), tier_(other.tier_) {}
  Memory& operator=(Memory&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(tier_, other.tier_);
    return *this;
  }
  ~Memory() {
    if (device_ != nullptr) device_->free_bytes(data_, tier_);
  }

  std::byte* data() const { return data_; }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }
  size_t bytes() const { return bytes_; }

 private:
  friend class Device;
  Memory(Device* device, std::byte* data, size_t bytes, Tier tier)
      : device_(device), data_(data), bytes_(bytes), tier_(tier) {}

  Device* device_ = nullptr;
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
  Tier tier_ = Tier::kDevice;
};

/// The Error(HEARTH_OUT_OF_MEMORY) of a device: which memory, and what a user can do.
inline Error out_of_memory(size_t bytes, const std::string& memory) {
  return Error(HEARTH_OUT_OF_MEMORY,
               format("Cannot allocate %zu bytes of %s: lower kv_cache_memory_bytes, "
                      "max_num_batched_tokens or max_model_len",
                      bytes, memory.c_str()));
}

inline Memory Device::allocate(size_t bytes, Tier tier) {
  if (bytes == 0) return {};
  return Memory(this, allocate_bytes(bytes, tier), bytes, tier);
}

}  // namespace hearth

#include "test_device.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "backend/cpu/packing.h"
#include "check.h"

namespace hearth::test {
namespace {

constexpr int kPoison = 0xff;  // NaN in fp32, fp16 and bf16
/// Of the copies under way, how many end by chance in a call.
constexpr uint64_t kOneOf = 4;

/// The CPU's packing, late.
class LatePacker final : public Packer {
 public:
  explicit LatePacker(TestDevice& device) : device_(device), packer_(make_cpu_packer(at_once_)) {}

  WeightLayout layout(SourceFormat format, int32_t rows, int32_t cols) const override {
    return packer_->layout(format, rows, cols);
  }
  void check_gated(const WeightLayout& gate, const WeightLayout& up) const override {
    packer_->check_gated(gate, up);
  }
  Ticket pack(const WeightLayout& layout, const std::byte* source, int32_t num_rows,
              std::byte* tiles, Ticket after) override {
    const int32_t num_tiles = (num_rows + layout.tile_rows - 1) / layout.tile_rows;
    return device_.run(
        tiles, num_tiles * layout.tile_bytes, source,
        num_rows * row_bytes(layout.source, layout.cols),
        [this, layout, num_rows](std::byte* to, const std::byte* from) {
          packer_->pack(layout, from, num_rows, to, {});
        },
        after);
  }
  Ticket randomize(const WeightLayout& layout, std::byte* tiles, int32_t num_tiles,
                   uint64_t seed) override {
    return device_.run(tiles, num_tiles * layout.tile_bytes, nullptr, 0,
                       [this, layout, num_tiles, seed](std::byte* to, const std::byte*) {
                         packer_->randomize(layout, to, num_tiles, seed);
                       },
                       {});
  }
  int32_t kv_element(const KvSpec& spec, bool is_value, int32_t token, int32_t dim) const override {
    return packer_->kv_element(spec, is_value, token, dim);
  }

 private:
  TestDevice& device_;
  CpuDevice at_once_;
  const std::unique_ptr<Packer> packer_;
};

}  // namespace

// -------------------------------------------------------------------------------------- faults

void DeviceFaults::add(const std::string& what) {
  const std::lock_guard lock(mutex_);
  faults_.push_back(what);
}

bool DeviceFaults::empty() const {
  const std::lock_guard lock(mutex_);
  return faults_.empty();
}

void DeviceFaults::check() const {
  const std::lock_guard lock(mutex_);
  if (faults_.empty()) return;
  fail(__FILE__, __LINE__, format("%zu faults: %s", faults_.size(), faults_.front().c_str()));
}

// ------------------------------------------------------------------------------------- a device

TestDevice::TestDevice(uint64_t seed, DeviceFaults& faults)
    : seed_(seed), faults_(faults), random_(seed) {}

TestDevice::~TestDevice() {
  for (const auto& [number, copy] : copies_) add_fault(number, "nobody waited for it");
}

std::string TestDevice::describe() const {
  return format("device: test, seed %llu\n", (unsigned long long)seed_);
}

Ticket TestDevice::copy(void* to, const void* from, size_t bytes, Ticket after) {
  const Work work = [bytes](std::byte* target, const std::byte* source) {
    if (bytes > 0) std::memcpy(target, source, bytes);
  };
  return run(to, bytes, from, bytes, work, after);
}

Ticket TestDevice::run(void* to, size_t to_bytes, const void* from, size_t from_bytes, Work work,
                       Ticket after) {
  std::unique_lock lock(mutex_);
  const uint64_t number = ++num_copies_;
  if (on_copy) {
    lock.unlock();
    on_copy(number);
    lock.lock();
  }
  end_some();
  Copy& copy = copies_[number];
  copy.to = {static_cast<std::byte*>(to), to_bytes};
  // Poison is written into memory of this device only; other sources may be constants.
  copy.from = {const_cast<std::byte*>(static_cast<const std::byte*>(from)), from_bytes};
  copy.work = std::move(work);
  copy.after = after.number;
  copy.fails = to_fail_.contains(number);
  if (!copies_.contains(after.number)) start(number);
  return {1, number};
}

void TestDevice::wait_for(Ticket ticket) {
  const std::lock_guard lock(mutex_);
  end_some();
  end(ticket.number);
}

Ticket TestDevice::mark() {
  const std::lock_guard lock(mutex_);
  end_some();
  return {};
}

bool TestDevice::is_done(Ticket ticket) {
  const std::lock_guard lock(mutex_);
  end_some();
  check_failed(ticket.number);
  return !copies_.contains(ticket.number);
}

void TestDevice::wait(Ticket ticket) {
  const std::lock_guard lock(mutex_);
  end_some();
  end(ticket.number);
  check_failed(ticket.number);
}

void TestDevice::fail_copy(uint64_t n) {
  const std::lock_guard lock(mutex_);
  to_fail_.insert(num_copies_ + n);
}

uint64_t TestDevice::num_copies() const {
  const std::lock_guard lock(mutex_);
  return num_copies_;
}

size_t TestDevice::num_pending() const {
  const std::lock_guard lock(mutex_);
  return copies_.size();
}

// --------------------------------------------------------------------------------------- copies

void TestDevice::start(uint64_t number) {
  Copy& copy = copies_.at(number);
  for (const auto& [other_number, other] : copies_) {
    if (!other.has_started) continue;
    if (overlap(copy.to, other.to).bytes > 0 || overlap(copy.to, other.from).bytes > 0 ||
        overlap(copy.from, other.to).bytes > 0) {
      add_fault(number,
                format("it meets copy %llu, which is under way", (unsigned long long)other_number));
    }
  }
  copy.has_started = true;
  copy.fails |= failed_.contains(copy.after);
  copy.source = read(copy.from);
  copy.source_is_poisoned = poisons_sources && is_allocated(copy.from);
  if (copy.source_is_poisoned) poison(copy.from);
  poison(copy.to);
}

// Ends what it comes after first. Nothing happens where it has ended.
void TestDevice::end(uint64_t number) {
  if (!copies_.contains(number)) return;
  end(copies_.at(number).after);
  const Copy copy = std::move(copies_.extract(number).mapped());
  if (!is_poison(copy.to)) add_fault(number, "its target was written before it was done");
  if (copy.source_is_poisoned) {
    if (!is_poison(copy.from)) add_fault(number, "its source was written before it was done");
    std::memcpy(copy.from.data, copy.source.data(), copy.source.size());
    for (const auto& [_, other] : copies_) {  // that read the same bytes
      if (other.source_is_poisoned) poison(overlap(copy.from, other.from));
    }
  } else if (read(copy.from) != copy.source) {
    add_fault(number, "its source was written before it was done");
  }
  if (copy.fails) {
    failed_.insert(number);
  } else {
    copy.work(copy.to.data, copy.source.data());
  }
  for (const auto& [other_number, other] : copies_) {
    if (!other.has_started && other.after == number) start(other_number);
  }
}

void TestDevice::end_some() {
  std::vector<uint64_t> under_way;
  for (const auto& [number, copy] : copies_) {
    if (copy.has_started) under_way.push_back(number);
  }
  std::shuffle(under_way.begin(), under_way.end(), random_);
  for (const uint64_t number : under_way) {
    if (random_() % kOneOf == 0) end(number);
  }
}

void TestDevice::check_failed(uint64_t number) const {
  if (failed_.contains(number)) throw Error(HEARTH_INTERNAL, kFailure);
}

// What lies there, below the poison of copies that read it.
std::vector<std::byte> TestDevice::read(Range range) const {
  std::vector<std::byte> bytes(range.data, range.data + range.bytes);
  for (const auto& [_, copy] : copies_) {
    if (!copy.source_is_poisoned) continue;
    const Range common = overlap(range, copy.from);
    if (common.bytes == 0) continue;
    std::memcpy(bytes.data() + (common.data - range.data),
                copy.source.data() + (common.data - copy.from.data), common.bytes);
  }
  return bytes;
}

// --------------------------------------------------------------------------------------- memory

std::byte* TestDevice::allocate_bytes(size_t bytes, Tier tier) {
  Memory memory = memory_.allocate(bytes, tier);
  std::byte* const data = memory.data();
  poison({data, bytes});
  const std::lock_guard lock(mutex_);
  allocations_.emplace(data, std::move(memory));
  return data;
}

void TestDevice::free_bytes(std::byte* data, Tier) {
  const std::lock_guard lock(mutex_);
  const auto found = allocations_.find(data);
  const Range freed{data, found->second.bytes()};
  std::vector<uint64_t> needing;
  for (const auto& [number, copy] : copies_) {
    if (overlap(freed, copy.to).bytes == 0 && overlap(freed, copy.from).bytes == 0) continue;
    add_fault(number, "memory was freed that it needs");
    needing.push_back(number);
  }
  for (const uint64_t number : needing) end(number);  // while the memory is there
  allocations_.erase(found);
}

bool TestDevice::is_allocated(Range range) const {
  const auto behind = allocations_.upper_bound(range.data);
  if (range.bytes == 0 || behind == allocations_.begin()) return false;
  const auto& [data, memory] = *std::prev(behind);
  return range.data + range.bytes <= data + memory.bytes();
}

void TestDevice::add_fault(uint64_t number, const std::string& what) const {
  faults_.add(format("seed %llu, copy %llu: %s", (unsigned long long)seed_,
                     (unsigned long long)number, what.c_str()));
}

TestDevice::Range TestDevice::overlap(Range a, Range b) {
  std::byte* const first = std::max(a.data, b.data);
  std::byte* const last = std::min(a.data + a.bytes, b.data + b.bytes);
  return {first, first < last ? size_t(last - first) : 0};
}

void TestDevice::poison(Range range) {
  if (range.bytes > 0) std::memset(range.data, kPoison, range.bytes);
}

bool TestDevice::is_poison(Range range) {
  const std::byte* const data = range.data;
  return range.bytes == 0 ||  // the first is, and each is like the one before it
         (*data == std::byte(kPoison) && std::memcmp(data, data + 1, range.bytes - 1) == 0);
}

Backend make_test_backend(const CpuOptions& options, std::unique_ptr<TestDevice> device) {
  TestDevice& late = *device;
  Backend backend = make_cpu_backend(options, std::move(device));
  backend.packer = std::make_unique<LatePacker>(late);
  return backend;
}

}  // namespace hearth::test

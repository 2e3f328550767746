// KV blocks that are demoted to host memory and promoted again by copies, over a device whose
// copies are late: the allocator's books and the blocks' contents under random operations.
#include <algorithm>
#include <optional>
#include <random>

#include "check.h"
#include "memory/kv_allocator.h"
#include "test_device.h"

namespace hearth::test {
namespace {

constexpr int32_t kBlocks = 6;
constexpr int32_t kSlots = 5;  // of the host
constexpr size_t kBlockBytes = 64;

/// What is done wrong, if anything.
enum class Haste {
  kNone,
  kFreesTooEarly,    // a demoted block, when its copy has been asked for
  kReadsTooEarly,    // a promoted block, without wait_for()
  kReusesSlotEarly,  // a host slot, when the copy from it has been asked for
};

/// Contents with a place each: a block, a host slot, or a copy between the two.
class Tiers {
 public:
  Tiers(uint64_t seed, Haste haste, bool poisons_sources, DeviceFaults& faults)
      : seed_(seed), haste_(haste), random_(seed), device_(seed, faults), kv_(kBlocks),
        blocks_(device_.allocate(kBlocks * kBlockBytes)),
        slots_(device_.allocate(kSlots * kBlockBytes, Tier::kHost)) {
    device_.poisons_sources = poisons_sources;
    for (int32_t slot = 0; slot < kSlots; ++slot) free_slots_.push_back(slot);
  }

  /// One operation of many, then the books. Throws Failure where a content is not what was written.
  void step() {
    switch (random_() % 5) {
      case 0: fill(); break;
      case 1: use(); break;
      case 2: demote(); break;
      case 3: promote(); break;
      default: drop();
    }
    settle();
    std::vector<int32_t> num_holders(kBlocks);
    for (const Content& content : contents_) {
      if (content.block) ++num_holders[*content.block];
    }
    kv_.check_integrity(num_holders);
    CHECK_EQUAL(kv_.num_free() + kv_.num_cached() + kv_.num_held(), kBlocks);
  }
  /// Waits for what is under way and looks at everything once more.
  void finish() {
    for (const Content& content : contents_) device_.wait(content.moving);
    settle();
    for (const Content& content : contents_) {
      check(content, content.block ? block(*content.block) : slot(*content.slot));
    }
    CHECK_EQUAL(device_.num_pending(), 0u);
  }

  int32_t num_demoted = 0, num_promoted = 0;

 private:
  struct Content {
    std::byte value;
    std::optional<int32_t> block, slot;
    Ticket moving;  // of the copy between them, where it has both
    bool to_host = false;
  };

  std::byte* block(int32_t index) const { return blocks_.data() + index * kBlockBytes; }
  std::byte* slot(int32_t index) const { return slots_.data() + index * kBlockBytes; }
  void check(const Content& content, const std::byte* data) const {
    const auto is_right = [&](std::byte byte) { return byte == content.value; };
    if (std::all_of(data, data + kBlockBytes, is_right)) return;
    fail(__FILE__, __LINE__,
         format("seed %llu: a content is not what was written", (unsigned long long)seed_));
  }

  /// Any content for which `fits` holds, or null.
  template <class Fits>
  Content* pick(const Fits& fits) {
    std::vector<Content*> fitting;
    for (Content& content : contents_) {
      if (fits(content)) fitting.push_back(&content);
    }
    return fitting.empty() ? nullptr : fitting[random_() % fitting.size()];
  }
  static bool is_on_device(const Content& content) { return content.block && !content.slot; }
  static bool is_on_host(const Content& content) { return content.slot && !content.block; }

  void fill() {
    const int32_t taken = kv_.allocate();
    if (taken == KvAllocator::kNone) return;
    const Content content{std::byte(1 + random_() % 200), taken, {}, {}};
    std::fill_n(block(taken), kBlockBytes, content.value);  // by ops
    contents_.push_back(content);
  }

  void use() {
    const Content* content = pick([this](const Content& content) {
      // A block that is being copied from may be read, where the device leaves it as it is.
      return is_on_device(content) ||
             (content.block && content.to_host && !device_.poisons_sources);
    });
    if (content != nullptr) check(*content, block(*content->block));
  }

  void demote() {
    Content* content = pick(is_on_device);
    if (content == nullptr || free_slots_.empty()) return;
    content->slot = free_slots_.back();
    free_slots_.pop_back();
    content->to_host = true;
    content->moving =
        device_.copy(slot(*content->slot), block(*content->block), kBlockBytes, device_.mark());
    ++num_demoted;
    if (haste_ == Haste::kFreesTooEarly) release_block(*content);
  }

  void promote() {
    Content* content = pick(is_on_host);
    if (content == nullptr) return;
    const int32_t taken = kv_.allocate();
    if (taken == KvAllocator::kNone) return;
    content->block = taken;
    content->to_host = false;
    // The ops that read the block before; where it was freed too early, this alone shall be wrong.
    const Ticket after = haste_ == Haste::kFreesTooEarly ? content->moving : device_.mark();
    content->moving = device_.copy(block(taken), slot(*content->slot), kBlockBytes, after);
    ++num_promoted;
    if (haste_ == Haste::kReusesSlotEarly) release_slot(*content);
    if (random_() % 2 == 0) return;  // used later, when it has arrived
    if (haste_ != Haste::kReadsTooEarly) device_.wait_for(content->moving);
    check(*content, block(taken));
  }

  void drop() {
    Content* content =
        pick([](const Content& content) { return !(content.block && content.slot); });
    if (content == nullptr) return;
    if (content->block) release_block(*content);
    if (content->slot) release_slot(*content);
    contents_.erase(contents_.begin() + (content - contents_.data()));
  }

  /// Frees what copies that are done have left.
  void settle() {
    for (Content& content : contents_) {
      if (!content.block || !content.slot || !device_.is_done(content.moving)) continue;
      content.to_host ? release_block(content) : release_slot(content);
    }
  }
  void release_block(Content& content) {
    kv_.release(*content.block);
    content.block.reset();
  }
  void release_slot(Content& content) {
    free_slots_.push_back(*content.slot);
    content.slot.reset();
  }

  const uint64_t seed_;
  const Haste haste_;
  std::mt19937_64 random_;
  TestDevice device_;
  KvAllocator kv_;
  const Memory blocks_, slots_;
  std::vector<int32_t> free_slots_;
  std::vector<Content> contents_;
};

/// Whether a fault, or a content that is not what was written, is seen.
bool is_seen(uint64_t seed, Haste haste) {
  DeviceFaults faults;
  try {
    Tiers tiers(seed, haste, true, faults);
    for (int i = 0; i < 200; ++i) tiers.step();
    tiers.finish();
  } catch (const Failure&) {
    return true;
  }
  return !faults.empty();
}

TEST("KV blocks keep their contents while copies between tiers are late") {
  int32_t num_demoted = 0, num_promoted = 0;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    for (const bool poisons_sources : {true, false}) {
      DeviceFaults faults;
      {
        Tiers tiers(seed, Haste::kNone, poisons_sources, faults);
        for (int i = 0; i < 200; ++i) tiers.step();
        tiers.finish();
        num_demoted += tiers.num_demoted;
        num_promoted += tiers.num_promoted;
      }
      faults.check();
    }
  }
  CHECK(num_demoted > 1000 && num_promoted > 1000);
}

TEST("A block that is freed, read or filled before its ticket is done is seen") {
  for (const Haste haste :
       {Haste::kFreesTooEarly, Haste::kReadsTooEarly, Haste::kReusesSlotEarly}) {
    int num_seen = 0;
    for (uint64_t seed = 0; seed < 20; ++seed) num_seen += is_seen(seed, haste) ? 1 : 0;
    CHECK(num_seen > 15);
  }
}

}  // namespace
}  // namespace hearth::test

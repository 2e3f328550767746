// Who holds which KV block.
//
//   A block is in exactly one of three places:
//
//     free     no content, no holder                    list, last released first
//     cached   content with a name, no holder           list, least recently used first
//     held     reference count >= 1                     may have a name, and then be shared
//
//   allocate() takes a free block, else evicts the cached block that was used longest ago: a cached
//   block costs nothing to give up, so "available" counts both.
//
// The lists are intrusive: every operation is O(1). One thread.
#pragma once

#include <cstdint>
#include <vector>

#include "prefix_cache.h"

namespace hearth {

class KvAllocator {
 public:
  explicit KvAllocator(int32_t num_blocks);

  static constexpr int32_t kNone = -1;

  int32_t num_blocks() const { return int32_t(blocks_.size()); }
  int32_t num_free() const { return free_.count; }
  int32_t num_cached() const { return cached_.count; }
  int32_t num_held() const { return num_blocks() - num_free() - num_cached(); }
  int32_t num_available() const { return num_free() + num_cached(); }
  int32_t reference_count(int32_t block) const { return blocks_[block].reference_count; }

  /// A block with one reference and no content, or kNone.
  int32_t allocate();
  /// One reference more. The block is held, or cached and then taken off its list.
  void acquire(int32_t block);
  /// One reference less; the last one makes the block cached where it has a name, else free.
  /// Release a table from its end: a chain is of no use without its beginning, so its end is
  /// evicted first.
  void release(int32_t block);

  /// Gives a held block, whose K and V are computed, its name. Nothing happens where another block
  /// has that name, or this one has one.
  void publish(int32_t block, const BlockName& name);
  /// The block of that name, or kNone. Acquire it before the next allocate().
  int32_t find(const BlockName& name) const { return names_.find(name); }
  /// Takes a name away; a cached block becomes free, a held one stays held.
  void forget(const BlockName& name);

  /// Throws Error(HEARTH_INTERNAL) where lists, counts, names and holders disagree.
  /// num_holders[block]: how many block tables it is in.
  void check_integrity(const std::vector<int32_t>& num_holders) const;

 private:
  struct Block {
    int32_t previous = kNone;
    int32_t next = kNone;
    int32_t reference_count = 0;
  };
  struct List {
    int32_t first = kNone;
    int32_t last = kNone;
    int32_t count = 0;
  };

  void push_front(List& list, int32_t block);
  void push_back(List& list, int32_t block);
  void unlink(List& list, int32_t block);
  void check_list(const List& list, bool named, std::vector<bool>& seen) const;

  std::vector<Block> blocks_;
  List free_;
  List cached_;
  PrefixCache names_;
};

}  // namespace hearth

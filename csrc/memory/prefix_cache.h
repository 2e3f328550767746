// The index of the prefix cache: from a name to the block that has it, and back.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "block_name.h"

namespace hearth {

class PrefixCache {
 public:
  explicit PrefixCache(int32_t num_blocks) : names_(num_blocks) {}

  /// The block of that name, or -1.
  int32_t find(const BlockName& name) const;
  bool has_name(int32_t block) const { return names_[block].has_value(); }
  /// False, and nothing happens, where the name is taken or the block has one.
  bool insert(const BlockName& name, int32_t block);
  void erase(int32_t block);

  /// Throws Error(HEARTH_INTERNAL) where the two directions disagree.
  void check_integrity() const;

 private:
  std::unordered_map<BlockName, int32_t, BlockNameHash> blocks_;
  std::vector<std::optional<BlockName>> names_;  // by block
};

}  // namespace hearth

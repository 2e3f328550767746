#include "prefix_cache.h"

#include "../error.h"

namespace hearth {

int32_t PrefixCache::find(const BlockName& name) const {
  const auto found = blocks_.find(name);
  return found == blocks_.end() ? -1 : found->second;
}

bool PrefixCache::insert(const BlockName& name, int32_t block) {
  if (has_name(block) || !blocks_.emplace(name, block).second) return false;
  names_[block] = name;
  return true;
}

void PrefixCache::erase(int32_t block) {
  blocks_.erase(*names_[block]);
  names_[block].reset();
}

void PrefixCache::check_integrity() const {
  size_t num_named = 0;
  for (size_t block = 0; block < names_.size(); ++block) {
    if (!names_[block]) continue;
    ++num_named;
    if (find(*names_[block]) != int32_t(block)) {
      throw Error(
          HEARTH_INTERNAL,
          format("Cannot trust the prefix cache: block %zu is not where its name leads", block));
    }
  }
  if (num_named != blocks_.size()) {
    throw Error(HEARTH_INTERNAL,
                format("Cannot trust the prefix cache: %zu names for %zu named blocks",
                       blocks_.size(), num_named));
  }
}

}  // namespace hearth

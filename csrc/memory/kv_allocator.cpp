#include "kv_allocator.h"

#include "../error.h"

namespace hearth {

KvAllocator::KvAllocator(int32_t num_blocks) : blocks_(num_blocks), names_(num_blocks) {
  for (int32_t block = 0; block < num_blocks; ++block) push_back(free_, block);
}

int32_t KvAllocator::allocate() {
  int32_t block = free_.first;
  if (block != kNone) {
    unlink(free_, block);
  } else {
    block = cached_.first;
    if (block == kNone) return kNone;
    unlink(cached_, block);
    names_.erase(block);
  }
  blocks_[block].reference_count = 1;
  return block;
}

void KvAllocator::acquire(int32_t block) {
  if (blocks_[block].reference_count == 0) unlink(cached_, block);
  ++blocks_[block].reference_count;
}

void KvAllocator::release(int32_t block) {
  if (--blocks_[block].reference_count > 0) return;
  if (names_.has_name(block)) {
    push_back(cached_, block);
  } else {
    // The block released last is the next one used: it is in the caches, and memory that was never
    // needed stays untouched.
    push_front(free_, block);
  }
}

void KvAllocator::publish(int32_t block, const BlockName& name) { names_.insert(name, block); }

void KvAllocator::forget(const BlockName& name) {
  const int32_t block = names_.find(name);
  if (block == kNone) return;
  names_.erase(block);
  if (blocks_[block].reference_count > 0) return;
  unlink(cached_, block);
  push_front(free_, block);
}

void KvAllocator::push_front(List& list, int32_t block) {
  blocks_[block].previous = kNone;
  blocks_[block].next = list.first;
  (list.first == kNone ? list.last : blocks_[list.first].previous) = block;
  list.first = block;
  ++list.count;
}

void KvAllocator::push_back(List& list, int32_t block) {
  blocks_[block].previous = list.last;
  blocks_[block].next = kNone;
  (list.last == kNone ? list.first : blocks_[list.last].next) = block;
  list.last = block;
  ++list.count;
}

void KvAllocator::unlink(List& list, int32_t block) {
  const auto [previous, next, reference_count] = blocks_[block];
  (previous == kNone ? list.first : blocks_[previous].next) = next;
  (next == kNone ? list.last : blocks_[next].previous) = previous;
  --list.count;
}

void KvAllocator::check_list(const List& list, bool named, std::vector<bool>& seen) const {
  int32_t count = 0;
  for (int32_t block = list.first; block != kNone; block = blocks_[block].next, ++count) {
    if (seen[block] || blocks_[block].reference_count != 0 || names_.has_name(block) != named) {
      throw Error(HEARTH_INTERNAL,
                  format("Cannot trust the KV cache: block %d is on a wrong list", block));
    }
    seen[block] = true;
  }
  if (count != list.count) {
    throw Error(HEARTH_INTERNAL,
                format("Cannot trust the KV cache: %d blocks on a list of %d", count, list.count));
  }
}

void KvAllocator::check_integrity(const std::vector<int32_t>& num_holders) const {
  std::vector<bool> on_list(blocks_.size());
  check_list(free_, false, on_list);
  check_list(cached_, true, on_list);
  for (int32_t block = 0; block < num_blocks(); ++block) {
    const int32_t reference_count = blocks_[block].reference_count;
    if (reference_count != num_holders[block]) {
      throw Error(HEARTH_INTERNAL,
                  format("Cannot trust the KV cache: block %d has %d references and %d holders",
                         block, reference_count, num_holders[block]));
    }
    if (reference_count == 0 && !on_list[block]) {
      throw Error(
          HEARTH_INTERNAL,
          format("Cannot trust the KV cache: block %d is neither free, cached nor held", block));
    }
  }
  names_.check_integrity();
}

}  // namespace hearth

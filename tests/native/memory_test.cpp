// Block names, and the allocator under random operations.
#include <algorithm>
#include <random>

#include "check.h"
#include "memory/kv_allocator.h"

namespace hearth::test {
namespace {

TEST("siphash128 gives the reference implementation's vectors") {
  uint8_t bytes[16];
  for (int i = 0; i < 16; ++i) bytes[i] = uint8_t(i);
  const uint64_t key[2] = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
  // vectors_sip128[0] and [1], bytes 00 01 .. as little-endian words.
  CHECK(siphash128(key, {bytes, 0}) == (BlockName{0xe6a825ba047f81a3, 0x930255c71472f66d}));
  CHECK(siphash128(key, {bytes, 1}) == (BlockName{0x44af996bd8c187da, 0x45fc229b11597634}));
}

TEST("BlockNamer tells parents, tokens, salts and fingerprints apart") {
  const BlockNamer namer(1);
  const uint64_t salts[2][2] = {{1, 2}, {2, 1}};
  const std::vector<uint32_t> tokens(16, 5);
  std::vector<uint32_t> others = tokens;
  others[15] = 6;
  const BlockName root = namer.root(salts[0]);
  CHECK(root == namer.root(salts[0]));
  CHECK(!(root == namer.root(salts[1])));
  CHECK(!(root == BlockNamer(2).root(salts[0])));
  CHECK(namer.child(root, tokens) == namer.child(root, tokens));
  CHECK(!(namer.child(root, tokens) == namer.child(root, others)));
  CHECK(!(namer.child(root, tokens) == namer.child(namer.root(salts[1]), tokens)));
}

TEST("KvAllocator reuses the cached block that was released first") {
  KvAllocator kv(3);
  const int32_t blocks[] = {kv.allocate(), kv.allocate(), kv.allocate()};
  CHECK_EQUAL(kv.allocate(), KvAllocator::kNone);
  for (int32_t block : blocks) kv.publish(block, {uint64_t(block), 1});
  for (int32_t i : {1, 2, 0}) kv.release(blocks[i]);
  CHECK_EQUAL(kv.num_cached(), 3);
  kv.acquire(blocks[1]);  // used again: now the youngest
  kv.release(blocks[1]);
  CHECK_EQUAL(kv.allocate(), blocks[2]);
  CHECK_EQUAL(kv.find({uint64_t(blocks[2]), 1}), KvAllocator::kNone);
  CHECK_EQUAL(kv.allocate(), blocks[0]);
  CHECK_EQUAL(kv.find({uint64_t(blocks[1]), 1}), blocks[1]);
}

TEST("KvAllocator prefers blocks without content to cached ones") {
  KvAllocator kv(2);
  const int32_t named = kv.allocate();
  kv.publish(named, {1, 1});
  kv.release(named);
  const int32_t other = kv.allocate();
  CHECK(other != named);
  kv.release(other);
  CHECK_EQUAL(kv.allocate(), other);
  CHECK_EQUAL(kv.find({1, 1}), named);
}

TEST("KvAllocator keeps names unique and forgets them") {
  KvAllocator kv(2);
  const int32_t a = kv.allocate();
  const int32_t b = kv.allocate();
  kv.publish(a, {1, 1});
  kv.publish(b, {1, 1});
  CHECK_EQUAL(kv.find({1, 1}), a);
  kv.release(a);
  CHECK_EQUAL(kv.num_cached(), 1);
  kv.forget({1, 1});
  CHECK_EQUAL(kv.num_free(), 1);
  kv.publish(b, {1, 1});
  kv.forget({1, 1});
  kv.release(b);
  CHECK_EQUAL(kv.num_free(), 2);
}

TEST("KvAllocator::check_integrity finds a holder too many") {
  KvAllocator kv(2);
  std::vector<int32_t> num_holders(2);
  num_holders[kv.allocate()] = 1;
  kv.check_integrity(num_holders);
  num_holders[0] = num_holders[1] = 1;
  CHECK_ERROR(HEARTH_INTERNAL, "references", kv.check_integrity(num_holders));
}

TEST("KvAllocator keeps its books under random operations") {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    std::mt19937_64 random(seed);
    const int32_t num_blocks = int32_t(1 + random() % 12);
    KvAllocator kv(num_blocks);
    std::vector<int32_t> held;  // one entry a reference
    for (int operation = 0; operation < 200; ++operation) {
      const BlockName name{random() % 8, 0};
      const size_t pick = held.empty() ? 0 : random() % held.size();
      switch (random() % 5) {
        case 0: {
          const bool available = kv.num_available() > 0;
          const int32_t block = kv.allocate();
          CHECK_EQUAL(block != KvAllocator::kNone, available);
          if (!available) break;
          CHECK(std::find(held.begin(), held.end(), block) == held.end());
          held.push_back(block);
          break;
        }
        case 1: {
          const int32_t block = kv.find(name);
          if (block == KvAllocator::kNone) break;
          kv.acquire(block);
          held.push_back(block);
          break;
        }
        case 2:
          if (!held.empty()) kv.publish(held[pick], name);
          break;
        case 3: kv.forget(name); break;
        default:
          if (held.empty()) break;
          kv.release(held[pick]);
          held.erase(held.begin() + pick);
      }
      std::vector<int32_t> num_holders(num_blocks);
      for (int32_t block : held) ++num_holders[block];
      kv.check_integrity(num_holders);
      CHECK_EQUAL(kv.num_free() + kv.num_cached() + kv.num_held(), num_blocks);
    }
  }
}

}  // namespace
}  // namespace hearth::test

// Names of full KV blocks: 128-bit keyed hashes of everything that their content depends on.
//
//   root         = hash(fingerprint, salt)             one a model and caller
//   name of b[i] = hash(name of b[i - 1], tokens of b[i])
//
// Two blocks of one name are taken to hold the same K and V without comparing tokens. The hash is
// SipHash-2-4 with 128 bits of output (Aumasson, Bernstein 2012) under a key that this process
// draws and never shows: without the key nobody can search for collisions, and by accident 2^32
// blocks collide with a probability of 2^-65.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

namespace hearth {

struct BlockName {
  uint64_t low = 0;
  uint64_t high = 0;
  bool operator==(const BlockName&) const = default;
};

struct BlockNameHash {
  size_t operator()(const BlockName& name) const { return size_t(name.low); }
};

/// SipHash-2-4-128 of bytes; key: 16 bytes as two little-endian words.
BlockName siphash128(const uint64_t key[2], std::span<const uint8_t> bytes);

/// Names chains of blocks under one key.
class BlockNamer {
 public:
  static constexpr size_t kMaxBlockTokens = 64;

  /// Draws the key from the system's random source.
  explicit BlockNamer(uint64_t fingerprint);

  /// What stands for the parent of a chain's first block.
  BlockName root(const uint64_t salt[2]) const;
  /// tokens: of one block, kMaxBlockTokens at most.
  BlockName child(const BlockName& parent, std::span<const uint32_t> tokens) const;

 private:
  uint64_t key_[2];
  uint64_t fingerprint_;
};

}  // namespace hearth

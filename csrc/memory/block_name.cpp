#include "block_name.h"

#include <bit>
#include <cstring>
#include <random>

namespace hearth {

static_assert(std::endian::native == std::endian::little, "words are read as they lie");

BlockName siphash128(const uint64_t key[2], std::span<const uint8_t> bytes) {
  uint64_t v0 = key[0] ^ 0x736f6d6570736575;
  uint64_t v1 = key[1] ^ 0x646f72616e646f6d ^ 0xee;  // 0xee marks 128 bits of output
  uint64_t v2 = key[0] ^ 0x6c7967656e657261;
  uint64_t v3 = key[1] ^ 0x7465646279746573;
  const auto rounds = [&](int count) {
    for (int i = 0; i < count; ++i) {
      v0 += v1, v1 = std::rotl(v1, 13) ^ v0, v0 = std::rotl(v0, 32);
      v2 += v3, v3 = std::rotl(v3, 16) ^ v2;
      v0 += v3, v3 = std::rotl(v3, 21) ^ v0;
      v2 += v1, v1 = std::rotl(v1, 17) ^ v2, v2 = std::rotl(v2, 32);
    }
  };
  const auto absorb = [&](uint64_t word) {
    v3 ^= word;
    rounds(2);
    v0 ^= word;
  };

  size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, bytes.data() + i, 8);
    absorb(word);
  }
  uint64_t last = uint64_t(bytes.size()) << 56;
  for (size_t shift = 0; i < bytes.size(); ++i, shift += 8) last |= uint64_t(bytes[i]) << shift;
  absorb(last);

  BlockName name;
  v2 ^= 0xee;
  rounds(4);
  name.low = v0 ^ v1 ^ v2 ^ v3;
  v1 ^= 0xdd;
  rounds(4);
  name.high = v0 ^ v1 ^ v2 ^ v3;
  return name;
}

namespace {

template <class T>
std::span<const uint8_t> bytes_of(const T* values, size_t count) {
  return {reinterpret_cast<const uint8_t*>(values), count * sizeof(T)};
}

}  // namespace

BlockNamer::BlockNamer(uint64_t fingerprint) : fingerprint_(fingerprint) {
  std::random_device random;
  for (uint64_t& word : key_) word = uint64_t(random()) << 32 | random();
}

BlockName BlockNamer::root(const uint64_t salt[2]) const {
  const uint64_t words[3] = {fingerprint_, salt[0], salt[1]};
  return siphash128(key_, bytes_of(words, 3));
}

BlockName BlockNamer::child(const BlockName& parent, std::span<const uint32_t> tokens) const {
  uint32_t words[4 + kMaxBlockTokens];
  std::memcpy(words, &parent, sizeof(parent));
  std::memcpy(words + 4, tokens.data(), tokens.size_bytes());
  return siphash128(key_, bytes_of(words, 4 + tokens.size()));
}

}  // namespace hearth

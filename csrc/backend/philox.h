// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): random bits
// as a function of a counter and a key, with no state. The same on every backend.
#pragma once

#include <array>
#include <cstdint>

namespace hearth {

constexpr std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter,
                                         std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t(0xD2511F53) * counter[0], b = uint64_t(0xCD9E8D57) * counter[2];
    counter = {uint32_t(b >> 32) ^ counter[1] ^ key[0], uint32_t(b),
               uint32_t(a >> 32) ^ counter[3] ^ key[1], uint32_t(a)};
    key = {key[0] + 0x9E3779B9, key[1] + 0xBB67AE85};
  }
  return counter;
}

/// The number in [0, 1) that draws output `output_index` of a sequence: 53 bits.
constexpr double sampling_noise(uint64_t seed, uint32_t sequence, uint32_t output_index) {
  const auto bits = philox({output_index, sequence, 0, 0}, {uint32_t(seed), uint32_t(seed >> 32)});
  return double((uint64_t(bits[1]) << 32 | bits[0]) >> 11) * 0x1p-53;
}

}  // namespace hearth

// Pieces of one range of bytes, first fit; neighbours that are free become one. Host code without
// CUDA.
#pragma once

#include <cstddef>
#include <map>
#include <optional>

namespace hearth::cuda {

class RangeAllocator {
 public:
  explicit RangeAllocator(size_t bytes) {
    if (bytes > 0) free_[0] = bytes;
  }

  static constexpr size_t rounded(size_t bytes) {
    return (bytes + kAlignment - 1) / kAlignment * kAlignment;
  }

  /// The offset of that many bytes, a multiple of 256; nothing where no free piece is as large.
  std::optional<size_t> allocate(size_t bytes) {
    bytes = rounded(bytes);
    for (auto piece = free_.begin(); piece != free_.end(); ++piece) {
      if (piece->second < bytes) continue;
      const size_t offset = piece->first, rest = piece->second - bytes;
      free_.erase(piece);
      if (rest > 0) free_[offset + bytes] = rest;
      return offset;
    }
    return std::nullopt;
  }

  /// bytes: as they were allocated.
  void free(size_t offset, size_t bytes) {
    auto piece = free_.emplace(offset, rounded(bytes)).first;
    const auto next = std::next(piece);
    if (next != free_.end() && piece->first + piece->second == next->first) {
      piece->second += next->second;
      free_.erase(next);
    }
    if (piece == free_.begin()) return;
    const auto previous = std::prev(piece);
    if (previous->first + previous->second != piece->first) return;
    previous->second += piece->second;
    free_.erase(piece);
  }

  size_t num_free() const {
    size_t bytes = 0;
    for (const auto& [offset, size] : free_) bytes += size;
    return bytes;
  }

 private:
  static constexpr size_t kAlignment = 256;

  std::map<size_t, size_t> free_;  // bytes by offset
};

}  // namespace hearth::cuda

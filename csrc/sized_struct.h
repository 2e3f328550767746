// Structs of the ABI in the size that the caller knows. hearth.h says, under "Structs", how a
// caller and a library of different age understand each other.
#pragma once

#include <cstring>
#include <string>
#include <type_traits>

#include "error.h"

namespace hearth {

/// No struct of this ABI comes near: a size beyond is one that the caller has forgotten to set.
constexpr uint32_t kMaxStructSize = 4096;

/// An in struct from a caller that may be made for another version: what it lacks is 0, and what
/// this library does not know of it has to be 0. name: how errors call it. first_size: the size of
/// its first version. Throws Error(HEARTH_INVALID_ARGUMENT).
template <class Struct>
Struct read_struct(const char* doing, const std::string& name, const void* from,
                   uint32_t first_size) {
  static_assert(std::is_trivially_copyable_v<Struct>);
  if (from == nullptr) refuse(doing, name, "not be NULL");
  uint32_t size;
  std::memcpy(&size, from, sizeof(size));
  if (size < first_size || size > kMaxStructSize) {
    refuse(doing, name + ".size", format("be %u to %u", first_size, kMaxStructSize),
           std::to_string(size));
  }
  const auto* bytes = static_cast<const unsigned char*>(from);
  for (uint32_t at = sizeof(Struct); at < size; ++at) {
    if (bytes[at] == 0) continue;
    refuse(doing, name,
           format("be 0 behind byte %zu, where this library's struct ends", sizeof(Struct)),
           format("%u at byte %u", bytes[at], at));
  }
  Struct value{};
  std::memcpy(&value, from, std::min<size_t>(size, sizeof(Struct)));
  value.size = sizeof(Struct);
  return value;
}

/// Throws Error(HEARTH_INVALID_ARGUMENT) unless an out struct of this size can be written.
inline void require_out_size(const char* doing, const char* field, uint32_t size) {
  if (size >= sizeof(uint32_t) && size <= kMaxStructSize) return;
  refuse(doing, field, format("be %zu to %u", sizeof(uint32_t), kMaxStructSize),
         std::to_string(size));
}

/// An out struct as far as the caller knows it. size: the caller's.
template <class Struct>
void write_struct(Struct value, void* to, uint32_t size) {
  static_assert(std::is_trivially_copyable_v<Struct>);
  value.size = std::min<uint32_t>(size, sizeof(Struct));
  std::memcpy(to, &value, value.size);
}

}  // namespace hearth

// What the functions of the C ABI have around their bodies: structs come in and go out in the size
// that the caller knows, and exceptions do not go out.
#pragma once

#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <type_traits>

#include "error.h"
#include "hearth.h"

namespace hearth {

/// No struct of this ABI comes near: a size beyond is one that the caller has forgotten to set.
constexpr uint32_t kMaxStructSize = 4096;
/// hearth_error's first version: all of its texts, so that none is cut without its NUL.
constexpr uint32_t kFirstErrorSize = 2048;

/// An in struct (hearth.h, Structs) from a caller that was made for another version: what it lacks
/// is 0, and what this library does not know of it has to be 0. name: how errors call it.
/// first_size: that of its first version. Throws Error(HEARTH_INVALID_ARGUMENT).
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

/// An out struct (hearth.h, Structs) as far as the caller knows it. size: the caller's.
template <class Struct>
void write_struct(Struct value, void* to, uint32_t size) {
  static_assert(std::is_trivially_copyable_v<Struct>);
  value.size = std::min<uint32_t>(size, sizeof(Struct));
  std::memcpy(to, &value, value.size);
}

/// Runs the body of a call and turns what it throws into a status and an error, which may be NULL.
template <class Body>
hearth_status guarded(hearth_error* error, Body&& body) noexcept {
  const auto failed = [&](const Error& thrown) {
    if (error != nullptr) write_struct(to_abi(thrown), error, error->size);
    return thrown.status();
  };
  if (error != nullptr && (error->size < kFirstErrorSize || error->size > kMaxStructSize)) {
    return HEARTH_INVALID_ARGUMENT;  // nothing may be written to it
  }
  try {
    try {
      body();
      return HEARTH_OK;
    } catch (const Error& thrown) {
      return failed(thrown);
    } catch (const std::bad_alloc&) {
      return failed(Error(HEARTH_OUT_OF_MEMORY, "Cannot allocate host memory: none is left"));
    } catch (const std::exception& thrown) {
      return failed(Error(HEARTH_INTERNAL, thrown.what()));
    } catch (...) {
      return failed(Error(HEARTH_INTERNAL, "Cannot complete the call: unknown error"));
    }
  } catch (...) {
    return HEARTH_INTERNAL;
  }
}

}  // namespace hearth

// The exceptions of the library: thrown inside, caught at the ABI (abi.cpp) and in the engine's
// thread, never let out.
#pragma once

#include <algorithm>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>

#include "hearth.h"

namespace hearth {

class Error : public std::runtime_error {
 public:
  Error(hearth_status status, const std::string& message)
      : std::runtime_error(message), status_(status) {}
  hearth_status status() const { return status_; }

 private:
  hearth_status status_;
};

/// The device is gone for this process. Whoever fails single steps or requests lets this one pass:
/// no step can be run any more, so the whole engine fails.
class DeviceLost : public Error {
 public:
  explicit DeviceLost(const std::string& message) : Error(HEARTH_DEVICE_LOST, message) {}
};

/// printf into a std::string.
__attribute__((format(printf, 1, 2))) inline std::string format(const char* pattern, ...) {
  va_list args, again;
  va_start(args, pattern);
  va_copy(again, args);
  const int length = std::vsnprintf(nullptr, 0, pattern, args);
  va_end(args);
  std::string text(length > 0 ? length : 0, '\0');
  if (length > 0) std::vsnprintf(text.data(), length + 1, pattern, again);
  va_end(again);
  return text;
}

/// At most limit bytes of a text in UTF-8, cut between two characters.
inline size_t cut_length(std::string_view text, size_t limit) {
  size_t length = std::min(text.size(), limit);
  while (length > 0 && length < text.size() && (text[length] & 0xc0) == 0x80) --length;
  return length;
}

/// snprintf's rule: at most capacity bytes with NUL, no
/// half characters; returns the whole length.
inline int32_t write_text(const std::string& text, char* target, uint32_t capacity) {
  if (target != nullptr && capacity > 0) {
    const size_t length = cut_length(text, capacity - 1);
    std::memcpy(target, text.data(), length);
    target[length] = '\0';
  }
  return int32_t(text.size());
}

}  // namespace hearth

// What every function of the C ABI has around its body: text goes out cut to fit, exceptions do
// not.
#pragma once

#include <exception>
#include <new>
#include <string>

#include "error.h"
#include "hearth.h"

namespace hearth {

/// Runs the body of a call and turns what it throws into a status and a message.
template <class Body>
hearth_status guarded(char* error, uint32_t error_capacity, Body&& body) noexcept {
  try {
    try {
      body();
      return HEARTH_OK;
    } catch (const Error& thrown) {
      write_text(thrown.what(), error, error_capacity);
      return thrown.status();
    } catch (const std::bad_alloc&) {
      write_text("Cannot allocate host memory: none is left", error, error_capacity);
      return HEARTH_OUT_OF_MEMORY;
    } catch (const std::exception& thrown) {
      write_text(thrown.what(), error, error_capacity);
      return HEARTH_INTERNAL;
    } catch (...) {
      write_text("Cannot complete the call: unknown error", error, error_capacity);
      return HEARTH_INTERNAL;
    }
  } catch (...) {
    return HEARTH_INTERNAL;
  }
}

}  // namespace hearth

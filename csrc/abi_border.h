// What every function of the C ABI has around its body: exceptions do not go out.
#pragma once

#include <exception>
#include <new>

#include "error.h"
#include "sized_struct.h"

namespace hearth {

/// hearth_error's first version: all of its texts, so that none is cut without its NUL.
constexpr uint32_t kFirstErrorSize = 2048;

/// Runs the body of a call and turns what it throws into a status and an error, which may be NULL.
/// Allocates nothing itself.
template <class Body>
hearth_status guarded(hearth_error* error, Body&& body) noexcept {
  const auto failed = [&](const hearth_error& thrown) {
    if (error != nullptr) write_struct(thrown, error, error->size);
    return thrown.status;
  };
  if (error != nullptr && (error->size < kFirstErrorSize || error->size > kMaxStructSize)) {
    return HEARTH_INVALID_ARGUMENT;  // nothing may be written to it
  }
  try {
    body();
    return HEARTH_OK;
  } catch (const Error& thrown) {
    return failed(to_abi(thrown));
  } catch (const std::bad_alloc&) {
    return failed(to_abi(HEARTH_OUT_OF_MEMORY, "Cannot allocate host memory: none is left"));
  } catch (const std::exception& thrown) {
    return failed(to_abi(HEARTH_INTERNAL, thrown.what()));
  } catch (...) {
    return failed(to_abi(HEARTH_INTERNAL, "Cannot complete the call: unknown error"));
  }
}

}  // namespace hearth

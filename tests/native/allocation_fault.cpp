// The program's operator new: malloc's memory, or std::bad_alloc where a fault is in force.
#include "allocation_fault.h"

#include <cstdlib>
#include <new>

namespace hearth::test {

namespace {

thread_local AllocationFault* fault_in_force = nullptr;

bool fails_now() {
  AllocationFault* fault = fault_in_force;
  if (fault == nullptr || fault->num_left-- > 0) return false;
  if (fault->has_struck && !fault->lasts) return false;
  fault->has_struck = true;
  return true;
}

}  // namespace

void set_allocation_fault(AllocationFault* fault) { fault_in_force = fault; }

}  // namespace hearth::test

// The form that does not throw is replaced as well: a sanitizer's own would not go with this
// delete.
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return hearth::test::fails_now() ? nullptr : std::malloc(size > 0 ? size : 1);
}

void* operator new(std::size_t size) {
  if (void* memory = operator new(size, std::nothrow)) return memory;
  throw std::bad_alloc();
}

void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }

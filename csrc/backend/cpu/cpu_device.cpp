#include "cpu_device.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

namespace hearth {
namespace {

constexpr size_t kHugePage = 2 << 20;

}  // namespace

std::byte* CpuDevice::allocate_bytes(size_t bytes, Tier) {
  // Huge pages: weights and KV are read from end to end, and a page walk every 4 KiB costs
  // bandwidth.
  const bool huge = bytes >= 2 * kHugePage;
  const size_t alignment = huge ? kHugePage : 64;
  const size_t size = (bytes + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, size);
  if (memory == nullptr) throw out_of_memory(bytes, "memory");
  if (huge) madvise(memory, size, MADV_HUGEPAGE);  // a hint: small pages work too
  ++num_allocations_;
  return static_cast<std::byte*>(memory);
}

void CpuDevice::free_bytes(std::byte* data, Tier) { std::free(data); }

Ticket CpuDevice::copy(void* to, const void* from, size_t bytes, Ticket) {
  if (bytes > 0) std::memcpy(to, from, bytes);
  return {};
}

}  // namespace hearth

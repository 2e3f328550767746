#include "page_table.h"

#include <algorithm>

namespace hearth {

PageTable::PageTable(Device& device, uint32_t num_pages)
    : device_(device), host_(device.allocate(device_bytes(num_pages), Tier::kHost)),
      entries_(device.allocate(device_bytes(num_pages))), places_(num_pages) {}

Ticket PageTable::set(uint32_t first, std::span<std::byte* const> addresses, Ticket after) {
  if (addresses.empty()) return after;
  std::byte** const from = host_.as<std::byte*>() + first;
  std::copy(addresses.begin(), addresses.end(), from);
  std::copy(addresses.begin(), addresses.end(), places_.begin() + first);
  return device_.copy(entries_.as<std::byte*>() + first, from, addresses.size_bytes(), after);
}

}  // namespace hearth

// Where the pages of weights lie: an array in device memory by which kernels find them.
//
//   WeightView ── first page ──▶ entries: | page 0 | page 1 | page 2 | ...     one a page of 16 MiB
//                                             │        │
//                                             ▼        ▼
//                                          device   device memory, anywhere
//
// A weight is named by its first page; its others follow. Whoever owns the pages, and nobody else,
// says where they lie, so that a page may move while recorded steps and views stay as they are.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "device.h"
#include "weight.h"

namespace hearth {

class PageTable {
 public:
  /// Of pages that lie nowhere yet. Throws Error(HEARTH_OUT_OF_MEMORY).
  PageTable(Device& device, uint32_t num_pages);

  /// Pages from `first` on lie at these addresses from the ticket on. Ops see it behind
  /// Device::wait_for(). `after`: copies into the pages, and the last ops that read them where they
  /// lay before. One call at a time for each page, none before the last one's ticket is done, and
  /// none while an op is being called. Memory in which a page lay stays memory of the device while
  /// ops may run: they may look there too, and use nothing of it (cuda/linear_stream_sm90.cu).
  Ticket set(uint32_t first, std::span<std::byte* const> addresses, Ticket after = {});

  PageEntry entry(uint32_t page) const {
    return {entries_.as<const std::byte* const>() + page, places_.data() + page};
  }
  size_t device_bytes() const { return entries_.bytes(); }
  static size_t device_bytes(uint32_t num_pages) { return num_pages * sizeof(std::byte*); }

 private:
  Device& device_;
  Memory host_;                           // what the device's entries are copied from
  Memory entries_;                        // of the device
  std::vector<const std::byte*> places_;  // the last that was set
};

}  // namespace hearth

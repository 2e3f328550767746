// NVML, the driver's library for looking at devices, opened at run time where it is. Unlike the
// CUDA runtime it needs no context to tell how much memory is free.
#pragma once

#include <cstdint>
#include <optional>

namespace hearth::cuda {

class Nvml {
 public:
  /// Where NVML is absent or refuses, free_bytes() knows nothing.
  Nvml();
  ~Nvml();
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;

  /// Free memory of the GPU at a PCI bus id such as "0000:1b:00.0". By index it could be another:
  /// CUDA_VISIBLE_DEVICES hides and reorders devices from CUDA alone.
  std::optional<uint64_t> free_bytes(const char* pci_bus_id) const;

 private:
  void* library_ = nullptr;
  bool is_open_ = false;
};

}  // namespace hearth::cuda

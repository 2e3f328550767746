#include "nvml.h"

#include <dlfcn.h>

namespace hearth::cuda {
namespace {

// As nvml.h has them, which not every machine with nvcc has.
struct Memory {
  unsigned long long total, free, used;
};
using Init = int (*)();
using Shutdown = int (*)();
using GetHandle = int (*)(const char* pci_bus_id, void** device);
using GetMemory = int (*)(void* device, Memory* memory);

template <class Function>
Function find(void* library, const char* name) {
  return library == nullptr ? nullptr : reinterpret_cast<Function>(dlsym(library, name));
}

}  // namespace

Nvml::Nvml() : library_(dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL)) {
  const auto init = find<Init>(library_, "nvmlInit_v2");
  is_open_ = init != nullptr && init() == 0;
}

Nvml::~Nvml() {
  const auto shutdown = find<Shutdown>(library_, "nvmlShutdown");
  if (is_open_ && shutdown != nullptr) shutdown();
  if (library_ != nullptr) dlclose(library_);
}

std::optional<uint64_t> Nvml::free_bytes(const char* pci_bus_id) const {
  if (!is_open_) return std::nullopt;
  const auto get_handle = find<GetHandle>(library_, "nvmlDeviceGetHandleByPciBusId_v2");
  const auto get_memory = find<GetMemory>(library_, "nvmlDeviceGetMemoryInfo");
  void* device = nullptr;
  Memory memory = {};
  if (get_handle == nullptr || get_memory == nullptr || get_handle(pci_bus_id, &device) != 0 ||
      get_memory(device, &memory) != 0) {
    return std::nullopt;
  }
  return memory.free;
}

}  // namespace hearth::cuda

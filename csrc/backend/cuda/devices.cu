// The CUDA devices of this machine.
#include <cuda_runtime.h>

#include <string_view>

#include "../backend.h"

namespace hearth {

std::vector<hearth_device> cuda_devices() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();  // no driver, or no device: there are none
    return {};
  }
  int current = 0;
  cudaGetDevice(&current);
  std::vector<hearth_device> devices;
  for (int index = 0; index < count; ++index) {
    cudaDeviceProp properties;
    size_t free = 0, total = 0;
    if (cudaSetDevice(index) != cudaSuccess ||
        cudaGetDeviceProperties(&properties, index) != cudaSuccess ||
        cudaMemGetInfo(&free, &total) != cudaSuccess) {
      cudaGetLastError();
      break;  // indices stay the driver's
    }
    hearth_device device = {};
    device.size = sizeof(device);
    device.kind = HEARTH_DEVICE_CUDA;
    device.index = uint32_t(index);
    device.best_isa = uint32_t(properties.major * 10 + properties.minor);
    device.num_cores = uint32_t(properties.multiProcessorCount);
    device.memory_bytes = total;
    device.free_bytes = free;
    std::string_view(properties.name).copy(device.name, sizeof(device.name) - 1);
    devices.push_back(device);
  }
  cudaSetDevice(current);
  return devices;
}

}  // namespace hearth

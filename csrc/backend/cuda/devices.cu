#include "devices.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <string_view>

#include "../backend.h"
#include "device.h"
#include "nvml.h"
#include "probe.h"

namespace hearth {
namespace {

// 0 without a driver.
int32_t count_devices() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();
  return 0;
}

// Reading properties makes no context, as cudaSetDevice() would since CUDA 12: some hundred MB and
// a tenth of a second on every device, most of them not ours to use.
hearth_device describe_device(int32_t index) {
  cudaDeviceProp properties;
  cuda::check(cudaGetDeviceProperties(&properties, index), "Cannot read a device's properties");
  hearth_device device = {};
  device.size = sizeof(device);
  device.kind = HEARTH_DEVICE_CUDA;
  device.index = uint32_t(index);
  device.best_isa = uint32_t(properties.major * 10 + properties.minor);
  device.num_cores = uint32_t(properties.multiProcessorCount);
  device.memory_bytes = properties.totalGlobalMem;
  std::string_view(properties.name).copy(device.name, sizeof(device.name) - 1);
  return device;
}

}  // namespace

namespace cuda {

OpenDevice open_device(int32_t index) {
  const int32_t count = count_devices();
  if (index >= count) {
    throw Error(HEARTH_UNSUPPORTED,
                format("Cannot open device: device_index must be below %d, the number of CUDA "
                       "devices: current value is %d",
                       count, index));
  }
  check(cudaSetDevice(index), "Cannot open device");
  const hearth_device info = describe_device(index);
  const std::string name = format("cuda:%d, %s of compute capability %s,", index, info.name,
                                  capability_name(int32_t(info.best_isa)).c_str());
  return {info, probe_code(name)};
}

}  // namespace cuda

std::vector<hearth_device> cuda_devices() {
  std::vector<hearth_device> devices;
  const int32_t count = count_devices();
  for (int32_t index = 0; index < count; ++index) devices.push_back(describe_device(index));
  return devices;
}

void read_free_bytes(std::span<hearth_device> devices) {
  const cuda::Nvml nvml;
  for (hearth_device& device : devices) {
    char bus_id[32];
    uint64_t free = device.memory_bytes;
    if (cudaDeviceGetPCIBusId(bus_id, sizeof(bus_id), int(device.index)) == cudaSuccess) {
      free = nvml.free_bytes(bus_id).value_or(free);
    }
    cudaGetLastError();  // a device without a bus is no failure
    // A part of a GPU (MIG) has the whole one's bus.
    device.free_bytes = std::min(free, device.memory_bytes);
  }
}

uint64_t cuda_free_bytes(int32_t device_index) {
  size_t free = 0, total = 0;
  cuda::check(cudaSetDevice(device_index), "Cannot use the device");
  cuda::check(cudaMemGetInfo(&free, &total), "Cannot read how much memory is free");
  return free;
}

void cuda_trap(int32_t device_index) {
  cuda::open_device(device_index);
  cuda::trap();
}

}  // namespace hearth

#include "devices.h"

#include <algorithm>

#include "../backend/backend.h"
#include "../backend/cpu/isa.h"
#include "../error.h"
#include "machine.h"

namespace hearth {

namespace {

hearth_device describe_cpu() {
  const Machine machine = read_machine();
  hearth_device cpu = {};
  cpu.size = sizeof(cpu);
  cpu.kind = HEARTH_DEVICE_CPU;
  cpu.best_isa = uint32_t(best_isa());
  cpu.num_cores = machine.num_cores;
  cpu.memory_bytes = machine.memory_bytes;
  cpu.free_bytes = machine.free_bytes;
  write_text(machine.cpu_name, cpu.name, sizeof(cpu.name));
  return cpu;
}

/// Why there is no such CUDA device.
std::string cuda_absence(uint32_t index, int64_t count) {
  if (!built_with_cuda()) return "this library is built without CUDA";
  if (count == 0) return "this machine has no CUDA device that its driver lets us use";
  return format(
      "device_index must be below %lld, the CUDA devices of this machine: current value "
      "is %u",
      (long long)count, index);
}

}  // namespace

std::vector<hearth_device> list_devices() {
  std::vector<hearth_device> devices = list_devices(HEARTH_DEVICE_AUTO);
  read_free_bytes(std::span(devices).subspan(1));
  return devices;
}

std::vector<hearth_device> list_devices(uint32_t device_kind) {
  std::vector<hearth_device> devices{describe_cpu()};
  if (device_kind == HEARTH_DEVICE_CPU) return devices;
  const std::vector<hearth_device> cuda = cuda_devices();
  devices.insert(devices.end(), cuda.begin(), cuda.end());
  return devices;
}

hearth_device choose_device(uint32_t device_kind, uint32_t device_index,
                            std::span<const hearth_device> devices, const char* doing) {
  if (device_kind > HEARTH_DEVICE_CUDA) {
    throw Error(HEARTH_INVALID_ARGUMENT,
                format("%s: device_kind must be AUTO (0), CPU (1) or CUDA (2): current value is %u",
                       doing, device_kind));
  }
  if (device_kind != HEARTH_DEVICE_CUDA && device_index != 0) {
    throw Error(HEARTH_INVALID_ARGUMENT,
                format("%s: device_index must be 0 where device_kind is not CUDA: current value is "
                       "%u",
                       doing, device_index));
  }
  const auto find = [&](uint32_t kind) {
    return std::find_if(devices.begin(), devices.end(), [&](const hearth_device& device) {
      return device.kind == kind && device.index == device_index;
    });
  };
  if (device_kind != HEARTH_DEVICE_CPU) {
    if (const auto cuda = find(HEARTH_DEVICE_CUDA); cuda != devices.end()) return *cuda;
  }
  if (device_kind == HEARTH_DEVICE_CUDA) {
    const int64_t count = std::count_if(devices.begin(), devices.end(), [](const auto& device) {
      return device.kind == HEARTH_DEVICE_CUDA;
    });
    throw Error(HEARTH_UNSUPPORTED, format("%s: no CUDA device %u: %s", doing, device_index,
                                           cuda_absence(device_index, count).c_str()));
  }
  return *find(HEARTH_DEVICE_CPU);
}

}  // namespace hearth

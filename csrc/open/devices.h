// The devices of this process, and the one among them that was asked for.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "../hearth.h"

namespace hearth {

/// The CPU, then the CUDA devices in the driver's order.
std::vector<hearth_device> list_devices();
/// Those that a device_kind may stand for, without free_bytes of CUDA devices: for the CPU alone no
/// GPU is woken.
std::vector<hearth_device> list_devices(uint32_t device_kind);

/// What device_kind and device_index name among `devices` (from list_devices()); AUTO is the first
/// CUDA device where there is one, else the CPU. doing: how messages begin, "Cannot open engine".
/// Throws Error: INVALID_ARGUMENT, or UNSUPPORTED for a device that is not there.
hearth_device choose_device(uint32_t device_kind, uint32_t device_index,
                            std::span<const hearth_device> devices, const char* doing);

}  // namespace hearth

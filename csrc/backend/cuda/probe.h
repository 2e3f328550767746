// Two kernels that no model needs: one tells what code was loaded, one fails.
#pragma once

#include "loaded_code.h"

namespace hearth::cuda {

/// What the code is that the driver loads for the current device. The first time after a driver
/// update it may compile PTX here, and once more for each file of kernels at its first launch: tens
/// of seconds in all; it keeps what it made (CUDA_CACHE_PATH).
///
/// device  how a message names it
///
/// Throws Error(HEARTH_UNSUPPORTED) where the library has no code that this device and driver run.
LoadedCode probe_code(const std::string& device);

/// Launches a kernel that traps on the current device, which is lost to this process from then on,
/// and throws the DeviceLost that this makes. For tests.
void trap();

}  // namespace hearth::cuda

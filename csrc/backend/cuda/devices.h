// The CUDA devices of this machine; opening one.
#pragma once

#include <cstdint>

#include "../../hearth.h"
#include "loaded_code.h"

namespace hearth::cuda {

struct OpenDevice {
  hearth_device info;  // but for free_bytes
  LoadedCode code;
};

/// Makes a device the current one of this thread, and its context where this process has none yet.
/// Other devices are left alone. Throws Error: UNSUPPORTED for a device that is not there, or that
/// runs no code of this library.
OpenDevice open_device(int32_t index);

}  // namespace hearth::cuda

// What the machine code that runs on a device can do. The device alone does not tell: a library
// that has code for 8.0 and PTX of it runs that on a device of 9.0 or 12.0. Host code without CUDA,
// so that what follows from it is tested where there is no GPU.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "../../error.h"

namespace hearth::cuda {

/// Of the code that the driver chose for a device, or compiled for it from PTX, as a kernel of it
/// says (probe.h). All kernels of a library are compiled for the same architectures.
struct LoadedCode {
  /// That it was compiled for: 80 for 8.0. The device's own is the same or higher.
  int32_t compute_capability = 0;
  /// Kernels with wgmma, bulk copies and clusters have bodies: for sm_90a alone.
  bool has_hopper_bodies = false;
  /// wait_for_previous() (ptx.cuh) waits, so that a kernel may begin before the one ahead of it has
  /// ended.
  bool waits_for_previous = false;

  bool has_tensor_cores() const { return compute_capability >= 80; }
};

/// The same without what more than max_compute_capability brought, 0: all of it. For tests of
/// kernels that are not the first choice.
inline LoadedCode limit_code(LoadedCode code, int32_t max_compute_capability) {
  if (max_compute_capability == 0) return code;
  code.compute_capability = std::min(code.compute_capability, max_compute_capability);
  code.has_hopper_bodies = code.has_hopper_bodies && max_compute_capability >= 90;
  code.waits_for_previous = code.waits_for_previous && max_compute_capability >= 90;
  return code;
}

/// 9.0 for 90.
inline std::string capability_name(int32_t compute_capability) {
  return format("%d.%d", compute_capability / 10, compute_capability % 10);
}

}  // namespace hearth::cuda

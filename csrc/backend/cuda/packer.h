// How weights and KV lie on a CUDA device: see layout.h.
#pragma once

#include <memory>

#include "../packer.h"
#include "cuda_device.h"

namespace hearth::cuda {

/// The device outlives it.
std::unique_ptr<Packer> make_packer(CudaDevice& device);

}  // namespace hearth::cuda

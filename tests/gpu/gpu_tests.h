// The checks of kernels and of memory on a device: what main.cu runs.
#pragma once

#include <string>

#include "backend/cuda/cuda_device.h"
#include "device_memory.h"
#include "report.h"

namespace hearth::gpu_tests {

struct Options {
  bool reduced = false;  // fewer and smaller, for compute-sanitizer
  std::string skip;      // kernels not to run, by their names with commas between
};

/// Every linear kernel, cut as the dispatcher does it and as a tuner may, against float64; and one
/// result for a token, bit by bit, whatever the kernel and whoever else is in the batch.
void check_linear(cuda::CudaDevice& device, const Options& options);
/// The kernel that rotates q and K and writes K and V itself, against two kernels.
void check_qkv(cuda::CudaDevice& device, const Options& options);
/// Every attention kernel against float64; and one result for a query, as above.
void check_attention(cuda::CudaDevice& device, const Options& options);
/// Strips that the device packs, against those that the host packs.
void check_packer(cuda::CudaDevice& device, const Options& options);
/// Pages of weights that move between two ops, recorded ones too.
void check_pages(cuda::CudaDevice& device, const Options& options);
/// Copies of several threads, and what their tickets promise.
void check_tickets(cuda::CudaDevice& device, const Options& options);

}  // namespace hearth::gpu_tests

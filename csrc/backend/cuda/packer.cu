// Packing on the device: rows as in a file become strips (layout.h), a thread a word.
//
// The host would take a second for 26 GB with 16 threads; the device takes less than the link needs
// for the rows.
#include "packer.h"

#include <algorithm>

#include "../philox.h"
#include "ptx.cuh"
#include "strip_words.h"

namespace hearth::cuda {
namespace {

constexpr int kThreads = 256;

/// Packs strips of 16 rows. source_row: bytes of a row.
__global__ void __launch_bounds__(kThreads)
    pack_kernel(SourceFormat format, const std::byte* source, size_t source_row, int32_t num_rows,
                int32_t cols, int32_t slab_words, int32_t num_slabs, uint32_t* strips) {
  const int64_t strip_words = int64_t(num_slabs) * slab_words;
  const int64_t words = (num_rows + kStripRows - 1) / kStripRows * strip_words;
  for (int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x; i < words;
       i += int64_t(gridDim.x) * kThreads) {
    const int32_t first_row = int32_t(i / strip_words) * kStripRows;
    const int32_t word = int32_t(i % strip_words);
    const StripRows rows{source + first_row * source_row, source_row,
                         min(num_rows - first_row, kStripRows), cols};
    strips[i] = strip_word(format, rows, word / slab_words, word % slab_words);
  }
}

/// A number in (-1, 1) by Philox of the seed and an index.
__device__ __forceinline__ float random_unit(uint64_t seed, uint64_t index) {
  const auto bits = philox({uint32_t(index), uint32_t(index >> 32), 0, 0},
                           {uint32_t(seed), uint32_t(seed >> 32)});
  return (float(bits[0] >> 8) + 0.5f) * 0x1p-23f - 1;
}

/// Fills words of 32 bits: two 16-bit values, or quants; scales and minima come behind them.
__global__ void randomize_kernel(DType dtype, std::byte* strips, size_t num_slabs, float largest,
                                 uint64_t seed) {
  const int32_t words = slab_bytes(dtype) / 4;
  const int32_t quant_words = dtype == DType::kQ8_0 ? 256 : 128;
  for (size_t i = size_t(blockIdx.x) * blockDim.x + threadIdx.x; i < num_slabs * words;
       i += size_t(gridDim.x) * blockDim.x) {
    const int32_t word = int32_t(i % words);
    uint32_t value;
    if (dtype == DType::kF32) {
      value = __float_as_uint(random_unit(seed, i) * largest);
    } else if (dtype == DType::kBF16) {
      const float low = random_unit(seed, 2 * i), high = random_unit(seed, 2 * i + 1);
      value = round_pair<__nv_bfloat16>(low * largest, high * largest);
    } else if (dtype == DType::kF16) {
      const float low = random_unit(seed, 2 * i), high = random_unit(seed, 2 * i + 1);
      value = round_pair<__half>(low * largest, high * largest);
    } else if (word < quant_words) {
      value = philox({uint32_t(i), uint32_t(i >> 32), 1, 0}, {uint32_t(seed), 0})[0];
    } else {
      // Quants reach from -128 to 127, -8 to 7 or 0 to 15: scale them to the range, move the last.
      const float scale = largest / (dtype == DType::kQ8_0 ? 128.f : 8.f);
      const bool is_minimum = word >= quant_words + 16;
      value =
          is_minimum ? round_pair<__half>(-largest, -largest) : round_pair<__half>(scale, scale);
    }
    reinterpret_cast<uint32_t*>(strips)[i] = value;
  }
}

class CudaPacker final : public Packer {
 public:
  explicit CudaPacker(CudaDevice& device) : device_(device) {}

  WeightLayout layout(SourceFormat format, int32_t rows, int32_t cols) const override {
    return strip_layout(format, rows, cols);
  }

  void check_gated(const WeightLayout& gate, const WeightLayout& up) const override {
    if (gate.dtype == up.dtype) return;
    throw Error(HEARTH_UNSUPPORTED,
                format("Cannot open model: gate and up of a layer must be of one dtype on CUDA: "
                       "current dtypes are %s and %s",
                       dtype_name(gate.dtype), dtype_name(up.dtype)));
  }

  Ticket pack(const WeightLayout& layout, const std::byte* source, int32_t num_rows,
              std::byte* tiles, Ticket after) override {
    const int32_t slab_words = slab_bytes(layout.dtype) / 4;
    const int32_t num_slabs = int32_t(layout.tile_bytes) / slab_bytes(layout.dtype);
    const int64_t words = int64_t(num_rows + kStripRows - 1) / kStripRows * num_slabs * slab_words;
    const int32_t grid = int32_t(std::min<int64_t>((words + kThreads - 1) / kThreads, kMostCtas));
    return device_.enqueue(after, [&](cudaStream_t stream) {
      pack_kernel<<<grid, kThreads, 0, stream>>>(
          layout.source, source, row_bytes(layout.source, layout.cols), num_rows, layout.cols,
          slab_words, num_slabs, reinterpret_cast<uint32_t*>(tiles));
      check(cudaGetLastError(), "Cannot pack weights");
    });
  }

  Ticket randomize(const WeightLayout& layout, std::byte* tiles, int32_t num_tiles,
                   uint64_t seed) override {
    const size_t slabs = size_t(num_tiles) * layout.tile_bytes / slab_bytes(layout.dtype);
    const float largest = sqrtf(3.f / float(layout.cols));  // a uniform distribution's deviation
    return device_.enqueue({}, [&](cudaStream_t stream) {
      randomize_kernel<<<kMostCtas, kThreads, 0, stream>>>(layout.dtype, tiles, slabs, largest,
                                                           seed);
      check(cudaGetLastError(), "Cannot make random weights");
    });
  }

  int32_t kv_element(const KvSpec& spec, bool /*is_value*/, int32_t token,
                     int32_t dim) const override {
    return kv_cell_element(spec, token, dim);
  }

 private:
  static constexpr int32_t kMostCtas = 1024;  // more than any device runs at a time

  CudaDevice& device_;
};

}  // namespace

std::unique_ptr<Packer> make_packer(CudaDevice& device) {
  return std::make_unique<CudaPacker>(device);
}

}  // namespace hearth::cuda

// DESIGN
//   A CTA a row (or a token), a fixed number of threads, sums in a fixed order: a row's result
//   depends on nothing but the row.
#include "rows.h"

#include "../philox.h"
#include "fragments.cuh"

namespace hearth::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

__device__ __forceinline__ float add_lanes(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(0xffffffff, value, distance);
  }
  return value;
}

/// The sum over the CTA, in every thread. partial: [kWarps] in shared memory, free at the call.
__device__ __forceinline__ float add_threads(float value, float* partial) {
  value = add_lanes(value);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
  __syncthreads();
  float sum = 0;
#pragma unroll
  for (int warp = 0; warp < kWarps; ++warp) sum += partial[warp];
  __syncthreads();
  return sum;
}

/// value(column) of the normed row, for columns of this thread. kNone passes the row on.
template <class Store>
__device__ __forceinline__ void norm_row(const float* x, int32_t cols, const NormView& norm,
                                         Store&& store) {
  __shared__ float partial[kWarps];
  float mean = 0, factor = 1;
  if (norm.kind == NormKind::kLayer) {
    float sum = 0;
    for (int32_t col = threadIdx.x; col < cols; col += kThreads) sum += x[col];
    mean = add_threads(sum, partial) / float(cols);
  }
  if (norm.kind != NormKind::kNone) {
    float sum = 0;
    for (int32_t col = threadIdx.x; col < cols; col += kThreads) {
      const float value = x[col] - mean;
      sum = fmaf(value, value, sum);
    }
    factor = 1 / sqrtf(add_threads(sum, partial) / float(cols) + norm.eps);
  }
  for (int32_t col = threadIdx.x; col < cols; col += kThreads) {
    float value = x[col];
    if (norm.kind != NormKind::kNone) {
      value = (value - mean) * factor * norm.weight[col];
      if (norm.bias != nullptr) value += norm.bias[col];
    }
    store(col, value);
  }
}

__global__ void __launch_bounds__(kThreads)
    norm_rows_kernel(const float* x, int32_t cols, NormView norm, float* out) {
  let_next_begin();
  wait_for_previous();
  const size_t row = size_t(blockIdx.x) * cols;
  norm_row(x + row, cols, norm, [&](int32_t col, float value) { out[row + col] = value; });
}

template <class Half>
__global__ void __launch_bounds__(kThreads)
    norm_operand_kernel(const float* x, int32_t rows, int32_t cols, NormView norm, Half* out) {
  let_next_begin();
  wait_for_previous();
  const int32_t row = blockIdx.x, padded_rows = round_up(rows, 8);
  const auto store = [&](int32_t col, float value) {
    out[operand_element(row, col, padded_rows)] = round_one<Half>(value);
  };
  norm_row(x + size_t(row) * cols, cols, norm, store);
  const int32_t col = cols + threadIdx.x;
  if (col < round_up(cols, kBlockCols)) store(col, 0);
}

template <class Half>
__global__ void __launch_bounds__(kThreads)
    operand_to_floats_kernel(const Half* operand, int32_t rows, int32_t cols, float* out) {
  let_next_begin();
  wait_for_previous();
  const int32_t row = blockIdx.x, padded_rows = round_up(rows, 8);
  for (int32_t col = threadIdx.x; col < cols; col += kThreads) {
    out[size_t(row) * cols + col] = float(operand[operand_element(row, col, padded_rows)]);
  }
}

__global__ void __launch_bounds__(kThreads)
    rope_table_kernel(StepView step, const float* inv_freq, int32_t half, float scale) {
  let_next_begin();
  wait_for_previous();
  const int32_t index = blockIdx.x * kThreads + threadIdx.x;
  if (index >= step.num_tokens * half) return;
  const float angle = __fmul_rn(float(step.positions[index / half]), inv_freq[index % half]);
  double sine, cosine;
  sincos(double(angle), &sine, &cosine);
  const_cast<float*>(step.rope_cos)[index] = __fmul_rn(float(cosine), scale);
  const_cast<float*>(step.rope_sin)[index] = __fmul_rn(float(sine), scale);
}

__global__ void __launch_bounds__(kThreads)
    embed_kernel(StepView step, DType dtype, const __grid_constant__ StripMap table, int32_t cols,
                 float* out) {
  let_next_begin();
  wait_for_previous();
  int32_t id = step.token_ids[blockIdx.x];
  if (id < 0) id = step.drawn[~id];
  const std::byte* strip = strip_address(table, id / kStripRows);
  for (int32_t col = threadIdx.x; col < cols; col += kThreads) {
    out[size_t(blockIdx.x) * cols + col] = strip_element(dtype, strip, id % kStripRows, col);
  }
}

__global__ void __launch_bounds__(kThreads)
    add_position_kernel(StepView step, DType dtype, const __grid_constant__ StripMap table,
                        int32_t offset, int32_t cols, float* x) {
  let_next_begin();
  wait_for_previous();
  const int32_t row = step.positions[blockIdx.x] + offset;
  const std::byte* strip = strip_address(table, row / kStripRows);
  for (int32_t col = threadIdx.x; col < cols; col += kThreads) {
    x[size_t(blockIdx.x) * cols + col] += strip_element(dtype, strip, row % kStripRows, col);
  }
}

__global__ void __launch_bounds__(kThreads)
    gather_kernel(StepView step, const float* x, int32_t cols, int32_t first_row, float* out) {
  let_next_begin();
  wait_for_previous();
  const int32_t token = step.logits_tokens[first_row + blockIdx.x];
  for (int32_t col = threadIdx.x; col < cols; col += kThreads) {
    out[size_t(blockIdx.x) * cols + col] = x[size_t(token) * cols + col];
  }
}

struct RopeKvArgs {
  StepView step;
  KvCache kv;
  AttentionSpec attention;
  NormView q_norm, k_norm;
  int32_t rope_half;
  bool interleaved;
  float* q;
  const float* k;
  const float* v;
};

/// Stores an element of a token's K or V into its cell.
__device__ __forceinline__ void store_kv(const RopeKvArgs& args, int32_t slot, int part,
                                         int32_t kv_head, int32_t dim, float value) {
  const KvSpec& spec = args.kv.spec;
  const int32_t block = slot / spec.block_tokens, token = slot % spec.block_tokens;
  const size_t cell =
      ((size_t(block) * spec.num_layers + args.attention.layer) * 2 + part) * spec.num_kv_heads +
      kv_head;
  std::byte* to = args.kv.data + cell * spec.cell_bytes();
  const int32_t element = kv_cell_element(spec, token, dim);
  switch (spec.dtype) {
    case DType::kF32: reinterpret_cast<float*>(to)[element] = value; break;
    case DType::kBF16:
      reinterpret_cast<__nv_bfloat16*>(to)[element] = round_one<__nv_bfloat16>(value);
      break;
    default: reinterpret_cast<__half*>(to)[element] = round_one<__half>(value); break;
  }
}

/// A warp a head of q, K or V of one token; a head lies in shared memory meanwhile.
__global__ void __launch_bounds__(kThreads) rope_kv_kernel(const __grid_constant__ RopeKvArgs args) {
  let_next_begin();
  wait_for_previous();
  constexpr int kMaxHeadDim = 256;
  __shared__ float heads[kWarps][kMaxHeadDim];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int32_t token = blockIdx.x, head_dim = args.kv.spec.head_dim;
  const int32_t num_heads = args.attention.num_heads, num_kv_heads = args.kv.spec.num_kv_heads;
  const int32_t index = blockIdx.y * kWarps + warp;  // q's heads, then K's, then V's
  if (index >= num_heads + 2 * num_kv_heads) return;
  const int32_t slot = args.step.kv_slots[token];
  const bool is_query = index < num_heads, is_value = index >= num_heads + num_kv_heads;
  const int32_t head = is_query ? index : (index - num_heads) % num_kv_heads;
  const float* from = is_query ? args.q + (size_t(token) * num_heads + head) * head_dim
                               : (is_value ? args.v : args.k) +
                                     (size_t(token) * num_kv_heads + head) * head_dim;
  float* const x = heads[warp];
  for (int32_t i = lane; i < head_dim; i += 32) x[i] = from[i];
  __syncwarp();

  const NormView& norm = is_query ? args.q_norm : args.k_norm;
  if (!is_value && norm.kind != NormKind::kNone) {
    float mean = 0, sum = 0;
    if (norm.kind == NormKind::kLayer) {
      for (int32_t i = lane; i < head_dim; i += 32) mean += x[i];
      mean = add_lanes(mean) / float(head_dim);
    }
    for (int32_t i = lane; i < head_dim; i += 32) sum = fmaf(x[i] - mean, x[i] - mean, sum);
    const float factor = 1 / sqrtf(add_lanes(sum) / float(head_dim) + norm.eps);
    for (int32_t i = lane; i < head_dim; i += 32) {
      x[i] = (x[i] - mean) * factor * norm.weight[i];
      if (norm.bias != nullptr) x[i] += norm.bias[i];
    }
    __syncwarp();
  }
  if (!is_value) {
    const float* cosines = args.step.rope_cos + size_t(token) * args.rope_half;
    const float* sines = args.step.rope_sin + size_t(token) * args.rope_half;
    const int32_t stride = args.interleaved ? 2 : 1;
    const int32_t distance = args.interleaved ? 1 : args.rope_half;
    for (int32_t i = lane; i < args.rope_half; i += 32) {
      const float a = x[i * stride], b = x[i * stride + distance];
      x[i * stride] = a * cosines[i] - b * sines[i];
      x[i * stride + distance] = b * cosines[i] + a * sines[i];
    }
    __syncwarp();
  }
  if (is_query) {
    float* to = args.q + (size_t(token) * num_heads + head) * head_dim;
    for (int32_t i = lane; i < head_dim; i += 32) to[i] = x[i];
  } else if (slot >= 0) {
    for (int32_t i = lane; i < head_dim; i += 32) store_kv(args, slot, is_value, head, i, x[i]);
  }
}

/// A number in (-1, 1) by Philox of the seed and an index.
__device__ __forceinline__ float random_unit(uint64_t seed, uint64_t index) {
  const auto bits = philox({uint32_t(index), uint32_t(index >> 32), 0, 0},
                           {uint32_t(seed), uint32_t(seed >> 32)});
  return (float(bits[0] >> 8) + 0.5f) * 0x1p-23f - 1;
}

/// Fills words of 32 bits: two 16-bit values, or quants; scales and minima come behind them.
__global__ void randomize_kernel(DType dtype, std::byte* strips, size_t num_blocks, float largest,
                                 uint64_t seed) {
  const int32_t words = block_bytes(dtype) / 4;
  const int32_t quant_words = dtype == DType::kQ8_0 ? 256 : 128;
  for (size_t i = size_t(blockIdx.x) * blockDim.x + threadIdx.x; i < num_blocks * words;
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
      value = is_minimum ? round_pair<__half>(-largest, -largest) : round_pair<__half>(scale, scale);
    }
    reinterpret_cast<uint32_t*>(strips)[i] = value;
  }
}

}  // namespace

void rope_table(Stream& stream, const StepView& step, const float* inv_freq, int32_t half,
                float scale) {
  const int32_t total = step.num_tokens * half;
  if (total == 0) return;
  launch(stream, rope_table_kernel, dim3((total + kThreads - 1) / kThreads), dim3(kThreads), 0,
         step, inv_freq, half, scale);
}

void embed(Stream& stream, const StepView& step, DType dtype, const StripMap& table, int32_t cols,
           float* out) {
  launch(stream, embed_kernel, dim3(step.num_tokens), dim3(kThreads), 0, step, dtype, table, cols,
         out);
}

void add_position(Stream& stream, const StepView& step, DType dtype, const StripMap& table,
                  int32_t offset, int32_t cols, float* x) {
  launch(stream, add_position_kernel, dim3(step.num_tokens), dim3(kThreads), 0, step, dtype, table,
         offset, cols, x);
}

void norm_rows(Stream& stream, const float* x, int32_t rows, int32_t cols, const NormView& norm,
               float* out) {
  launch(stream, norm_rows_kernel, dim3(rows), dim3(kThreads), 0, x, cols, norm, out);
}

void norm_operand(Stream& stream, const float* x, int32_t rows, int32_t cols, const NormView& norm,
                  DType half, void* out) {
  if (half == DType::kBF16) {
    launch(stream, norm_operand_kernel<__nv_bfloat16>, dim3(rows), dim3(kThreads), 0, x, rows, cols,
           norm, static_cast<__nv_bfloat16*>(out));
  } else {
    launch(stream, norm_operand_kernel<__half>, dim3(rows), dim3(kThreads), 0, x, rows, cols, norm,
           static_cast<__half*>(out));
  }
}

void operand_to_floats(Stream& stream, const void* operand, int32_t rows, int32_t cols, DType half,
                       float* out) {
  if (half == DType::kBF16) {
    launch(stream, operand_to_floats_kernel<__nv_bfloat16>, dim3(rows), dim3(kThreads), 0,
           static_cast<const __nv_bfloat16*>(operand), rows, cols, out);
  } else {
    launch(stream, operand_to_floats_kernel<__half>, dim3(rows), dim3(kThreads), 0,
           static_cast<const __half*>(operand), rows, cols, out);
  }
}

void rope_and_write_kv(Stream& stream, const StepView& step, const KvCache& kv,
                       const AttentionSpec& attention, const NormView& q_norm,
                       const NormView& k_norm, int32_t rope_half, bool interleaved, float* q,
                       const float* k, const float* v) {
  const int32_t heads = attention.num_heads + 2 * kv.spec.num_kv_heads;
  const RopeKvArgs args{step, kv, attention, q_norm, k_norm, rope_half, interleaved, q, k, v};
  launch(stream, rope_kv_kernel, dim3(step.num_tokens, (heads + kWarps - 1) / kWarps),
         dim3(kThreads), 0, args);
}

void gather(Stream& stream, const StepView& step, const float* x, int32_t cols, int32_t first_row,
            int32_t num_rows, float* out) {
  launch(stream, gather_kernel, dim3(num_rows), dim3(kThreads), 0, step, x, cols, first_row, out);
}

void randomize_strips(Stream& stream, const WeightLayout& layout, std::byte* strips,
                      int32_t num_strips, uint64_t seed) {
  const size_t blocks = size_t(num_strips) * layout.tile_bytes / block_bytes(layout.dtype);
  const float largest = sqrtf(3.f / float(layout.cols));  // a uniform distribution's deviation
  randomize_kernel<<<stream.num_multiprocessors * 8, kThreads, 0, stream.handle>>>(
      layout.dtype, strips, blocks, largest, seed);
  check(cudaGetLastError(), "Cannot launch a kernel");
}

}  // namespace hearth::cuda

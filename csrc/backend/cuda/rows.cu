// DESIGN
//   Latency   Decode runs these between all linear ops, where a microsecond is much. What no kernel
//             writes (weights, the step's input) is in registers before the kernel ahead has ended;
//             what it wrote is then loaded at once, 16 bytes at a time, and read only once.
//   Rows      A thread has eight consecutive columns, a core matrix's row of an operand or a K/V
//             cell: 16 bytes. A norm takes a CTA to a row, of as many threads as it has eights of
//             columns; a head takes 1 to 32 lanes.
//   Same bits Threads and the order of sums follow from a row's length alone.
#include "rows.h"

#include <algorithm>
#include <initializer_list>

#include "eights.cuh"
#include "fragments.cuh"
#include "rope_kv.cuh"
#include "variants.cuh"

namespace hearth::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kMaxNormThreads = 1024;
constexpr int kHeadThreads = 128;

/// A warp's sum each; zeros where the CTA has no warp.
using WarpSums = float4[kMaxNormThreads / 128];

/// The sum over the CTA, in every thread.
__device__ __forceinline__ float add_threads(float value, WarpSums& sums) {
  value = add_lanes(value, 32);
  if (threadIdx.x % 32 == 0) reinterpret_cast<float*>(sums)[threadIdx.x / 32] = value;
  __syncthreads();
  float4 sum = sums[0];
#pragma unroll
  for (int i = 1; i < kMaxNormThreads / 128; ++i) {
    if (i * 128 >= blockDim.x) break;
    const float4 more = sums[i];
    sum.x += more.x, sum.y += more.y, sum.z += more.z, sum.w += more.w;
  }
  return (sum.x + sum.y) + (sum.z + sum.w);
}

/// Norms a row into a row of floats, or of an operand, whose columns it pads with zeros. Of a row
/// of more than 8192 columns a thread has several eights: it reads all but the first anew.
template <bool kVector, class Out>
__global__ void __launch_bounds__(kMaxNormThreads)
    norm_kernel(const float* x, int32_t rows, int32_t cols, NormView norm, Out* out) {
  let_next_begin();
  __shared__ WarpSums sums[2];
  for (int i = threadIdx.x; i < int(sizeof(sums) / sizeof(float)); i += blockDim.x) {
    reinterpret_cast<float*>(sums)[i] = 0;
  }
  __syncthreads();
  const int32_t row = blockIdx.x;
  const float* const from = x + size_t(row) * cols;
  const bool has_norm = norm.kind != NormKind::kNone, has_bias = has_norm && norm.bias != nullptr;
  const int32_t first = threadIdx.x * kEight, stride = blockDim.x * kEight;
  const float inverse = 1 / float(cols);
  float values[kEight], weight[kEight], bias[kEight];
  load_eight<kVector>(norm.weight + first, has_norm ? cols - first : 0, weight);
  load_eight<kVector>(norm.bias + first, has_bias ? cols - first : 0, bias);
  wait_for_previous();
  load_eight<kVector>(from + first, cols - first, values);

  float mean = 0, factor = 1;
  if (norm.kind == NormKind::kLayer) {
    float sum = add_eight(values);
    for (int32_t col = first + stride; col < cols; col += stride) {
      float more[kEight];
      load_eight<kVector>(from + col, cols - col, more);
      sum += add_eight(more);
    }
    mean = add_threads(sum, sums[0]) * inverse;
  }
  if (has_norm) {
    float sum = add_squares(values, cols - first, mean);
    for (int32_t col = first + stride; col < cols; col += stride) {
      float more[kEight];
      load_eight<kVector>(from + col, cols - col, more);
      sum += add_squares(more, cols - col, mean);
    }
    factor = rsqrtf(add_threads(sum, sums[1]) * inverse + norm.eps);
  }
  for (int32_t col = first;;) {
    if (has_norm) apply_norm(values, mean, factor, weight, bias);
    if constexpr (sizeof(Out) == 4) {
      store_eight<kVector>(out + size_t(row) * cols + col, cols - col, values);
    } else if (col < round_up(cols, kSlabCols)) {
      store_eight<true>(out + operand_element(row, col, round_up(rows, 8)), kEight, values);
    }
    col += stride;
    if (col >= round_up(cols, kSlabCols)) return;
    load_eight<kVector>(from + col, cols - col, values);
    load_eight<kVector>(norm.weight + col, has_norm ? cols - col : 0, weight);
    load_eight<kVector>(norm.bias + col, has_bias ? cols - col : 0, bias);
  }
}

template <class Half>
__global__ void __launch_bounds__(kThreads)
    operand_to_floats_kernel(const Half* operand, int32_t rows, int32_t cols, float* out) {
  let_next_begin();
  wait_for_previous();
  const int32_t row = blockIdx.x, col = blockIdx.y * kThreads + threadIdx.x;
  if (col >= cols) return;
  out[size_t(row) * cols + col] = float(operand[operand_element(row, col, round_up(rows, 8))]);
}

__global__ void __launch_bounds__(kThreads)
    rope_table_kernel(StepView step, const float* inv_freq, int32_t half, float scale, float* cos,
                      float* sin) {
  let_next_begin();
  wait_for_previous();
  const int32_t index = blockIdx.x * kThreads + threadIdx.x;
  if (index >= step.num_tokens * half) return;
  const float angle = __fmul_rn(float(step.positions[index / half]), inv_freq[index % half]);
  double sine, cosine;
  sincos(double(angle), &sine, &cosine);
  cos[index] = __fmul_rn(float(cosine), scale);
  sin[index] = __fmul_rn(float(sine), scale);
}

/// What the step before drew is there already: this step's input was copied in between.
__global__ void __launch_bounds__(kThreads)
    embed_kernel(StepView step, DType dtype, WeightRef table, int32_t cols, float* out) {
  let_next_begin();
  const int32_t col = blockIdx.y * kThreads + threadIdx.x;
  float value = 0;
  if (col < cols) {
    int32_t id = step.token_ids[blockIdx.x];
    if (id < 0) id = step.drawn[~id];
    value = strip_element(dtype, strip_address(table, id / kStripRows), id % kStripRows, col);
  }
  wait_for_previous();
  if (col < cols) out[size_t(blockIdx.x) * cols + col] = value;
}

__global__ void __launch_bounds__(kThreads)
    add_position_kernel(StepView step, DType dtype, WeightRef table, int32_t offset, int32_t cols,
                        float* x) {
  let_next_begin();
  const int32_t col = blockIdx.y * kThreads + threadIdx.x;
  float value = 0;
  if (col < cols) {
    const int32_t row = step.positions[blockIdx.x] + offset;
    value = strip_element(dtype, strip_address(table, row / kStripRows), row % kStripRows, col);
  }
  wait_for_previous();
  if (col < cols) x[size_t(blockIdx.x) * cols + col] += value;
}

__global__ void __launch_bounds__(kThreads)
    gather_kernel(StepView step, const float* x, int32_t cols, int32_t first_row, float* out) {
  let_next_begin();
  const int32_t token = step.logits_tokens[first_row + blockIdx.x];
  const int32_t col = blockIdx.y * kThreads + threadIdx.x;
  wait_for_previous();
  if (col < cols) out[size_t(blockIdx.x) * cols + col] = x[size_t(token) * cols + col];
}

struct RopeKvArgs {
  StepView step;
  KvCache kv;
  AttentionSpec attention;
  NormView q_norm, k_norm;
  RopeAngles angles;
  int32_t lanes;  // of a head, a power of two
  float* q;
  const float* k;
  const float* v;
};

/// Stores eight dimensions of a token's K or V, which are neighbours in every kind of cell.
template <bool kVector>
__device__ __forceinline__ void store_kv(const KvSpec& spec, std::byte* cell, int32_t element,
                                         int32_t count, const float (&values)[kEight]) {
  switch (spec.dtype) {
    case DType::kF32:
      return store_eight<kVector>(reinterpret_cast<float*>(cell) + element, count, values);
    case DType::kBF16:
      return store_eight<kVector>(reinterpret_cast<__nv_bfloat16*>(cell) + element, count, values);
    default: return store_eight<kVector>(reinterpret_cast<__half*>(cell) + element, count, values);
  }
}

/// Some lanes a head of q, K or V of a token, eight dimensions each. kVector: head_dim is a
/// multiple of 8, and so many lanes turn as a whole.
template <bool kVector>
__global__ void __launch_bounds__(kHeadThreads)
    rope_kv_kernel(const __grid_constant__ RopeKvArgs args) {
  let_next_begin();
  const KvSpec& spec = args.kv.spec;
  const int32_t token = blockIdx.x, head_dim = spec.head_dim, half = args.angles.half;
  const int32_t num_heads = args.attention.num_heads, num_kv_heads = spec.num_kv_heads;
  // Of q's heads, then K's, then V's.
  const int32_t index = (blockIdx.y * kHeadThreads + threadIdx.x) / args.lanes;
  const int32_t first = threadIdx.x % args.lanes * kEight;
  const bool is_query = index < num_heads, is_value = index >= num_heads + num_kv_heads;
  const int32_t head = is_query ? index : (index - num_heads) % num_kv_heads;
  const int32_t count = index < num_heads + 2 * num_kv_heads ? head_dim - first : 0;
  float* const q = args.q + (size_t(token) * num_heads + head) * head_dim + first;
  const float* const from = is_query ? q
                                     : (is_value ? args.v : args.k) +
                                           (size_t(token) * num_kv_heads + head) * head_dim + first;

  const int32_t slot = args.step.kv_slots[token];
  std::byte* const cell = slot_cell(args.kv, args.attention.layer, slot, is_value, head);
  const int32_t element = slot_element(spec, slot, first);

  const NormView norm = is_query ? args.q_norm : args.k_norm;
  const bool has_norm = !is_value && norm.kind != NormKind::kNone;
  float weight[kEight], bias[kEight];
  load_eight<kVector>(norm.weight + first, has_norm ? count : 0, weight);
  load_eight<kVector>(norm.bias + first, has_norm && norm.bias != nullptr ? count : 0, bias);
  wait_for_previous();

  float x[kEight], cosines[kEight], sines[kEight];  // of the pair that a dimension belongs to
  load_eight<kVector>(from, count, x);
  const int32_t turned = is_value ? 0 : min(count, 2 * half - first);  // of the eight
  const auto load_angles = [&](const float* table, float(&to)[kEight]) {
    table += size_t(token) * half;
    if constexpr (kVector) {
      if (!args.angles.interleaved) {
        return load_eight<true>(table + (first < half ? first : first - half), turned, to);
      }
      const float4 four =
          turned > 0 ? *reinterpret_cast<const float4*>(table + first / 2) : float4();
      to[0] = to[1] = four.x, to[2] = to[3] = four.y;
      to[4] = to[5] = four.z, to[6] = to[7] = four.w;
    } else {
#pragma unroll
      for (int i = 0; i < kEight; ++i) {
        const int32_t dim = first + i;
        const int32_t pair = args.angles.interleaved ? dim / 2 : dim < half ? dim : dim - half;
        to[i] = i < turned ? table[pair] : 0;
      }
    }
  };
  load_angles(args.angles.cos, cosines);
  load_angles(args.angles.sin, sines);

  const auto any_norm = [&](NormKind kind) {  // shuffles need all lanes
    return args.q_norm.kind == kind || args.k_norm.kind == kind;
  };
  if (any_norm(NormKind::kRms) || any_norm(NormKind::kLayer)) {
    float mean = 0;
    if (any_norm(NormKind::kLayer)) {
      mean = add_lanes(add_eight(x), args.lanes) / float(head_dim);
      if (norm.kind != NormKind::kLayer) mean = 0;
    }
    const float sum = add_lanes(add_squares(x, count, mean), args.lanes);
    if (has_norm) apply_norm(x, mean, rsqrtf(sum / float(head_dim) + norm.eps), weight, bias);
  }

  float others[kEight];  // of the pairs
  if (args.angles.interleaved) {
#pragma unroll
    for (int i = 0; i < kEight; ++i) others[i] = x[i ^ 1];
  } else if constexpr (kVector) {
    const int distance = half / kEight;
    const int lane = int(threadIdx.x) + (first < half ? distance : -distance);
#pragma unroll
    for (int i = 0; i < kEight; ++i) others[i] = __shfl_sync(0xffffffff, x[i], lane);
  } else {
    __shared__ float heads[kHeadThreads * kEight];
    float* const own = heads + threadIdx.x * kEight;
#pragma unroll
    for (int i = 0; i < kEight; ++i) own[i] = x[i];
    __syncwarp();
#pragma unroll
    for (int i = 0; i < kEight; ++i) {
      others[i] = i < turned ? own[i + (first + i < half ? half : -half)] : 0;
    }
  }
#pragma unroll
  for (int i = 0; i < kEight; ++i) {
    if (i >= turned) continue;
    const bool is_first = args.angles.interleaved ? i % 2 == 0 : first + i < half;
    x[i] = rotated(x[i], others[i], cosines[i], sines[i], is_first);
  }
  if (is_query) {
    store_eight<kVector>(q, count, x);
  } else if (slot >= 0) {
    store_kv<kVector>(spec, cell, element, count, x);
  }
}

/// A thread an element.
dim3 grid_of(int32_t rows, int32_t cols) { return dim3(rows, (cols + kThreads - 1) / kThreads); }

/// Whether 16 bytes at a time can be read there; null always can.
bool are_aligned(std::initializer_list<const void*> pointers) {
  return std::all_of(pointers.begin(), pointers.end(), [](const void* pointer) {
    return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
  });
}

template <class Out>
void launch_norm(Stream& stream, const float* x, int32_t rows, int32_t cols, const NormView& norm,
                 Out* out) {
  const int32_t eights = round_up(cols, kSlabCols) / kEight;
  const bool is_vector = cols % 4 == 0 && are_aligned({x, norm.weight, norm.bias, out});
  launch(stream, is_vector ? norm_kernel<true, Out> : norm_kernel<false, Out>, dim3(rows),
         dim3(std::min(round_up(eights, 32), kMaxNormThreads)), 0, x, rows, cols, norm, out);
}

}  // namespace

void rope_table(Stream& stream, const StepView& step, const float* inv_freq, int32_t half,
                float scale, float* cos, float* sin) {
  const int32_t total = step.num_tokens * half;
  if (total == 0) return;
  launch(stream, rope_table_kernel, dim3((total + kThreads - 1) / kThreads), dim3(kThreads), 0,
         step, inv_freq, half, scale, cos, sin);
}

void embed(Stream& stream, const StepView& step, DType dtype, const WeightRef& table, int32_t cols,
           float* out) {
  launch(stream, embed_kernel, grid_of(step.num_tokens, cols), dim3(kThreads), 0, step, dtype,
         table, cols, out);
}

void add_position(Stream& stream, const StepView& step, DType dtype, const WeightRef& table,
                  int32_t offset, int32_t cols, float* x) {
  launch(stream, add_position_kernel, grid_of(step.num_tokens, cols), dim3(kThreads), 0, step,
         dtype, table, offset, cols, x);
}

void norm_rows(Stream& stream, const float* x, int32_t rows, int32_t cols, const NormView& norm,
               float* out) {
  launch_norm(stream, x, rows, cols, norm, out);
}

void norm_operand(Stream& stream, const float* x, int32_t rows, int32_t cols, const NormView& norm,
                  DType half, void* out) {
  with_half(half, [&]<class Half>() {
    launch_norm(stream, x, rows, cols, norm, static_cast<Half*>(out));
  });
}

void operand_to_floats(Stream& stream, const void* operand, int32_t rows, int32_t cols, DType half,
                       float* out) {
  with_half(half, [&]<class Half>() {
    launch(stream, operand_to_floats_kernel<Half>, grid_of(rows, cols), dim3(kThreads), 0,
           static_cast<const Half*>(operand), rows, cols, out);
  });
}

void rope_and_write_kv(Stream& stream, const StepView& step, const KvCache& kv,
                       const AttentionSpec& attention, const NormView& q_norm,
                       const NormView& k_norm, const RopeAngles& angles, float* q, const float* k,
                       const float* v) {
  const int32_t head_dim = kv.spec.head_dim;
  if (head_dim > 32 * kEight) {
    throw Error(HEARTH_UNSUPPORTED,
                format("Cannot rotate heads: head_dim must be at most %d: current value is %d",
                       32 * kEight, head_dim));
  }
  int32_t lanes = 1;
  while (lanes * kEight < head_dim) lanes *= 2;
  const int32_t heads = attention.num_heads + 2 * kv.spec.num_kv_heads;
  const RopeKvArgs args{step, kv, attention, q_norm, k_norm, angles, lanes, q, k, v};
  const bool is_vector =
      head_dim % kEight == 0 && angles.half % (angles.interleaved ? kEight / 2 : kEight) == 0 &&
      are_aligned({q, k, v, q_norm.weight, q_norm.bias, k_norm.weight, k_norm.bias});
  launch(stream, is_vector ? rope_kv_kernel<true> : rope_kv_kernel<false>,
         dim3(step.num_tokens, (heads * lanes + kHeadThreads - 1) / kHeadThreads),
         dim3(kHeadThreads), 0, args);
}

void gather(Stream& stream, const StepView& step, const float* x, int32_t cols, int32_t first_row,
            int32_t num_rows, float* out) {
  launch(stream, gather_kernel, grid_of(num_rows, cols), dim3(kThreads), 0, step, x, cols,
         first_row, out);
}

}  // namespace hearth::cuda

// Attention in fp32: the exact mode, fp32 caches, and shapes or devices without a tensor-core
// kernel.
//
// DESIGN
//   A warp a row. The tokens it sees go by 32 at a time, counted from position 0:
//
//     score     lane j has token j: q · k by FMA, dimensions ascending
//     weigh     online softmax; each lane sums the weights of its own tokens
//     add       lane i has dimensions 2i, 2i + 1 (+ 64, ...): weight times v by FMA, tokens
//               ascending
//
//   The order depends on the row's position and window alone. Slots that it does not see are not
//   read: they may hold anything.
#include "attention_rows.cuh"

namespace hearth::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kMaxHeadDim = 256;
constexpr int kPairs = kMaxHeadDim / 64;  // of dimensions, a lane's

__device__ __forceinline__ float2 load_pair(const float* from) {
  return *reinterpret_cast<const float2*>(from);
}
__device__ __forceinline__ float2 load_pair(const __half* from) {
  return __half22float2(*reinterpret_cast<const __half2*>(from));
}
__device__ __forceinline__ float2 load_pair(const __nv_bfloat16* from) {
  return __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(from));
}

/// Of the 16-bit type that operands have beside such a cache.
template <class Element>
struct OperandOf {
  using type = Element;
};
template <>
struct OperandOf<float> {
  using type = __half;  // never made
};

__device__ __forceinline__ int32_t sequence_of(const StepView& step, int32_t token) {
  int32_t sequence = 0;
  for (int32_t end = step.num_sequences; end - sequence > 1;) {
    const int32_t middle = (sequence + end) / 2;
    (step.query_start[middle] <= token ? sequence : end) = middle;
  }
  return sequence;
}

template <class Element>
__global__ void __launch_bounds__(kWarps * 32)
    exact_kernel(const __grid_constant__ AttentionArgs args) {
  wait_for_previous();
  let_next_begin();
  using Half = typename OperandOf<Element>::type;
  __shared__ float queries[kWarps][kMaxHeadDim];
  const KvSpec& spec = args.kv.spec;
  const int32_t num_heads = args.spec.num_heads, head_dim = spec.head_dim;
  const int lane = threadIdx.x % 32;
  const int32_t row = blockIdx.x * kWarps + threadIdx.x / 32;
  if (row >= args.step.num_tokens * num_heads) return;
  const int32_t token = row / num_heads, head = row % num_heads;
  const int32_t kv_head = head / (num_heads / spec.num_kv_heads);
  const int32_t sequence = sequence_of(args.step, token);
  const int32_t position =
      args.step.context_len[sequence] - (args.step.query_start[sequence + 1] - token);
  if (position < 0) return;  // padding
  const int32_t first_block = args.step.first_block[sequence];

  float* const q = queries[threadIdx.x / 32];
  for (int32_t i = lane; i < head_dim; i += 32) q[i] = args.q[size_t(row) * head_dim + i];
  __syncwarp();

  const TokenRange visible = visible_tokens(position, args.spec.window);
  RowState state;
  float2 o[kPairs] = {};
  for (int32_t first = visible.begin / 32 * 32; first < visible.end; first += 32) {
    // An element's place is the sum of its token's and its dimension's.
    const Element* v = nullptr;
    float score = kMinusInfinity;
    const bool is_visible = visible.contains(first + lane);
    if (is_visible) {
      const int32_t block = args.step.blocks[first_block + (first + lane) / spec.block_tokens];
      const int32_t at = kv_cell_element(spec, (first + lane) % spec.block_tokens, 0);
      const Element* k = reinterpret_cast<const Element*>(
                             cell_address(args.kv, args.spec.layer, block, 0, kv_head)) +
                         at;
      v = reinterpret_cast<const Element*>(
              cell_address(args.kv, args.spec.layer, block, 1, kv_head)) +
          at;
      float sum = 0;
#pragma unroll 4
      for (int32_t dim = 0; dim < head_dim; dim += 2) {
        const float2 pair = load_pair(k + kv_cell_element(spec, 0, dim));
        sum = fmaf(q[dim], pair.x, sum);
        sum = fmaf(q[dim + 1], pair.y, sum);
      }
      score = sum * args.spec.scale;
    }

    float m = score;
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) {
      m = fmaxf(m, __shfl_xor_sync(0xffffffff, m, distance));
    }
    m = fmaxf(m, state.m);
    const float factor = expf(state.m - m);
    const float weight = is_visible ? expf(score - m) : 0;
    state = {m, fmaf(state.l, factor, weight)};
#pragma unroll
    for (float2& pair : o) pair.x *= factor, pair.y *= factor;

    const int end = min(visible.end - first, 32);
#pragma unroll 4
    for (int i = max(visible.begin - first, 0); i < end; ++i) {
      const float w = __shfl_sync(0xffffffff, weight, i);
      const Element* const values = reinterpret_cast<const Element*>(
          __shfl_sync(0xffffffff, reinterpret_cast<unsigned long long>(v), i));
#pragma unroll
      for (int p = 0; p < kPairs; ++p) {
        const int32_t dim = p * 64 + lane * 2;
        if (dim >= head_dim) break;
        const float2 pair = load_pair(values + kv_cell_element(spec, 0, dim));
        o[p].x = fmaf(w, pair.x, o[p].x);
        o[p].y = fmaf(w, pair.y, o[p].y);
      }
    }
  }

  const float factor = 1 / add_lanes(state.l);
#pragma unroll
  for (int p = 0; p < kPairs; ++p) {
    const int32_t dim = p * 64 + lane * 2;
    if (dim < head_dim) {
      store_pair<Half>(args, token, head, dim, o[p].x * factor, o[p].y * factor);
    }
  }
  if (head == num_heads - 1) store_padding<Half>(args, token, lane, 32);
}

}  // namespace

void attention_exact(Stream& stream, const AttentionArgs& args) {
  const KvSpec& spec = args.kv.spec;
  if (spec.head_dim > kMaxHeadDim || spec.head_dim % 2 != 0) {
    throw Error(HEARTH_UNSUPPORTED,
                format("Cannot attend: head_dim must be even and at most %d: current value is %d",
                       kMaxHeadDim, spec.head_dim));
  }
  if (args.out_is_operand && spec.dtype == DType::kF32) {
    throw Error(HEARTH_INTERNAL, "Cannot attend: a cache in fp32 makes no operands");
  }
  const int32_t rows = args.step.num_tokens * args.spec.num_heads;
  if (rows == 0) return;
  const auto kernel = spec.dtype == DType::kF32    ? exact_kernel<float>
                      : spec.dtype == DType::kBF16 ? exact_kernel<__nv_bfloat16>
                                                   : exact_kernel<__half>;
  launch(stream, kernel, dim3((rows + kWarps - 1) / kWarps), dim3(kWarps * 32), 0, args);
}

}  // namespace hearth::cuda

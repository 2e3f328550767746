// Attention of sequences with one query: what its kernels have in common, that is the work and its
// end. What is between streams K and V: attention_decode_sm90.cu (bulk copies), _sm80.cu
// (cp.async).
//
// DESIGN
//   Work    A piece: one chunk of one context (a DecodeItem), one KV head, up to 16 of its query
//           heads. Query heads are the rows of the tensor core's tile. CTAs stay for the whole
//           launch and take every gridDim.x-th piece, so that a recorded launch fits any number.
//   Warps   Four of a CTA multiply. In the end each has all rows of a piece, of its own dimensions:
//           warp w those from 16 w, 16 (w + 4), ... on.
//   Merge   A context of one chunk is written at once. Else each piece stores its partial; the one
//           that arrives last merges all, in order, and leaves the count at zero.
#pragma once

#include <algorithm>

#include "attention_tiles.cuh"
#include "wgmma.cuh"

namespace hearth::cuda {

void attention_decode_sm80(Stream& stream, const AttentionArgs& args);
void attention_decode_sm90(Stream& stream, const AttentionArgs& args);

inline constexpr int kDecodeWarps = 4;  // that multiply
inline constexpr int kDecodeThreads = kDecodeWarps * 32;
inline constexpr int kDecodeRows = 16;    // of the tensor core's tile
inline constexpr int kDecodeMeeting = 1;  // the named barrier of the warps that multiply

/// Pairs of octets of dimensions that a warp has, at most.
template <int kHeadDim>
inline constexpr int kDecodePairs = (kHeadDim / 16 + kDecodeWarps - 1) / kDecodeWarps;

__device__ __forceinline__ void meet() { named_barrier_sync(kDecodeMeeting, kDecodeThreads); }

// --------------------------------------------------------------------------------------- work

/// Of query heads that share a KV head.
constexpr int32_t group_size(const AttentionArgs& args) {
  return args.spec.num_heads / args.kv.spec.num_kv_heads;
}

constexpr int32_t passes_of(int32_t group) { return (group + kDecodeRows - 1) / kDecodeRows; }

struct Piece {
  int32_t item;
  int32_t sequence, chunk, token;
  int32_t first_chunk, num_chunks;  // that the query sees
  int32_t kv_head, first_head, num_rows;
  TokenRange visible;  // of the chunk

  /// One of a token's: who has it stores the token's padding.
  __device__ __forceinline__ bool is_first() const {
    return chunk == first_chunk && first_head == 0;
  }
  /// Its visible parts of the chunk, cut into so many tokens each.
  __device__ __forceinline__ int32_t first_part(int32_t tokens) const {
    return visible.begin / tokens;
  }
  __device__ __forceinline__ int32_t end_part(int32_t tokens) const {
    return (visible.end + tokens - 1) / tokens;
  }
};

/// The first piece from `index` on, by strides of the grid, that has something to see.
__device__ __forceinline__ bool find_piece(const AttentionArgs& args, int32_t& index,
                                           Piece& piece) {
  const int32_t group = group_size(args), passes = passes_of(group);
  const int32_t per_item = args.kv.spec.num_kv_heads * passes;
  const int32_t num_pieces = *args.step.num_decodes * per_item;
  for (; index < num_pieces; index += gridDim.x) {
    piece.item = index / per_item;
    const DecodeItem item = args.step.decodes[piece.item];
    const int32_t chunk_begin = item.chunk * kChunkTokens;
    const TokenRange visible =
        visible_tokens(args.step.context_len[item.sequence] - 1, args.spec.window);
    piece.visible = {max(visible.begin - chunk_begin, 0),
                     min(visible.end - chunk_begin, kChunkTokens)};
    if (piece.visible.begin >= piece.visible.end) continue;
    piece.sequence = item.sequence;
    piece.chunk = item.chunk;
    piece.token = args.step.query_start[item.sequence];
    piece.first_chunk = visible.begin / kChunkTokens;
    piece.num_chunks = (visible.end - 1) / kChunkTokens - piece.first_chunk + 1;
    piece.kv_head = index % per_item / passes;
    const int32_t first_row = index % passes * kDecodeRows;
    piece.first_head = piece.kv_head * group + first_row;
    piece.num_rows = min(kDecodeRows, group - first_row);
    return true;
  }
  return false;
}

// ---------------------------------------------------------------------------------------- end

__device__ __forceinline__ float* partial_of(const AttentionArgs& args, int32_t item,
                                             int32_t head) {
  return args.partials + (size_t(item) * args.spec.num_heads + head) * (args.kv.spec.head_dim + 2);
}

/// Merges the partials of all heads of the piece's KV head, in the order of chunks.
template <class Half, int kHeadDim>
__device__ __forceinline__ void merge_partials(const AttentionArgs& args, const Piece& piece) {
  constexpr int kBatch = 8;  // of loads on their way
  const int32_t group = group_size(args);
  const int32_t first_item = piece.item - piece.chunk + piece.first_chunk;
  const size_t stride = size_t(args.spec.num_heads) * (kHeadDim + 2);
  for (int32_t i = threadIdx.x; i < group * (kHeadDim / 2); i += kDecodeThreads) {
    const int32_t head = piece.kv_head * group + i / (kHeadDim / 2);
    const int32_t dim = i % (kHeadDim / 2) * 2;
    const float* const partial = partial_of(args, first_item, head);
    RowState total;
    float2 o = make_float2(0, 0);
    for (int32_t base = 0; base < piece.num_chunks; base += kBatch) {
      float2 states[kBatch], values[kBatch];
#pragma unroll
      for (int j = 0; j < kBatch; ++j) {
        const float* const from = partial + min(base + j, piece.num_chunks - 1) * stride;
        states[j] = __ldcg(reinterpret_cast<const float2*>(from + kHeadDim));
        values[j] = __ldcg(reinterpret_cast<const float2*>(from + dim));
      }
#pragma unroll
      for (int j = 0; j < kBatch; ++j) {
        if (base + j >= piece.num_chunks) break;
        const MergeFactors factors = merge_chunk(total, {states[j].x, states[j].y});
        o = make_float2(factors.merge(o.x, values[j].x), factors.merge(o.y, values[j].y));
      }
    }
    const float factor = 1 / total.l;
    store_pair<Half>(args, piece.token, head, dim, o.x * factor, o.y * factor);
  }
}

/// Adds 1 to a count, behind all that this thread knows to be written, and before what it reads
/// next. Returns what was there.
__device__ __forceinline__ int32_t arrive(int32_t* count) {
  int32_t before;
  asm volatile("atom.acq_rel.gpu.global.add.s32 %0, [%1], 1;"
               : "=r"(before)
               : "l"(count)
               : "memory");
  return before;
}

/// Stores what the warps have of a piece, l still by lanes, and merges where it is the last.
template <class Half, int kHeadDim>
__device__ __forceinline__ void finish_piece(const AttentionArgs& args, const Piece& piece,
                                             const RowState (&rows)[2],
                                             const float (&o)[kDecodePairs<kHeadDim>][2][4]) {
  __shared__ bool is_last;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int g = lane / 4, t = lane % 4;
  const bool is_whole = piece.num_chunks == 1;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float l = add_quad(rows[half].l);
    const int32_t row = g + half * 8, head = piece.first_head + row;
    if (row >= piece.num_rows) continue;
    float* const partial = partial_of(args, piece.item, head);
    const float scale = is_whole ? 1 / l : 1;
    if (!is_whole && warp == 0 && t == 0) {
      *reinterpret_cast<float2*>(partial + kHeadDim) = make_float2(rows[half].m, l);
    }
#pragma unroll
    for (int i = 0; i < kDecodePairs<kHeadDim> * 2; ++i) {
      const int32_t dim = (warp + i / 2 * kDecodeWarps) * 16 + i % 2 * 8 + 2 * t;
      if (dim >= kHeadDim) break;
      const float low = o[i / 2][i % 2][half * 2], high = o[i / 2][i % 2][half * 2 + 1];
      if (is_whole) {
        store_pair<Half>(args, piece.token, head, dim, low * scale, high * scale);
      } else {
        *reinterpret_cast<float2*>(partial + dim) = make_float2(low, high);
      }
    }
  }
  if (is_whole) return;
  int32_t* const arrivals =
      args.arrivals + size_t(piece.sequence) * args.kv.spec.num_kv_heads + piece.kv_head;
  meet();
  if (threadIdx.x == 0) {
    is_last = arrive(arrivals) == piece.num_chunks * passes_of(group_size(args)) - 1;
    if (is_last) *arrivals = 0;
  }
  meet();
  if (is_last) merge_partials<Half, kHeadDim>(args, piece);
}

// ------------------------------------------------------------------------------------- launch

/// Launches a kernel whose CTAs take pieces: as many as there may be, or as fit the device.
inline void launch_pieces(Stream& stream, void (*kernel)(AttentionArgs), int threads,
                          size_t shared_bytes, const AttentionArgs& args) {
  int per_multiprocessor = 0;
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&per_multiprocessor, kernel, threads,
                                                      shared_bytes),
        "Cannot attend");
  const int64_t pieces =
      int64_t(args.step.max_decodes) * args.kv.spec.num_kv_heads * passes_of(group_size(args));
  const int64_t ctas = int64_t(per_multiprocessor) * stream.num_multiprocessors;
  launch(stream, kernel, dim3(uint32_t(std::min(pieces, ctas))), dim3(threads), shared_bytes, args);
}

/// Calls launch.operator()<Half, kHeadDim>() with those of the cache.
template <class Launch>
void launch_for(const KvSpec& spec, const Launch& launch) {
  const auto with_half = [&]<class Half>() {
    switch (spec.head_dim) {
      case 64: return launch.template operator()<Half, 64>();
      case 80: return launch.template operator()<Half, 80>();
      case 96: return launch.template operator()<Half, 96>();
      case 128: return launch.template operator()<Half, 128>();
      case 256: return launch.template operator()<Half, 256>();
      default:
        throw Error(HEARTH_UNSUPPORTED,
                    format("Cannot attend: no decode kernel for head_dim %d", spec.head_dim));
    }
  };
  switch (spec.dtype) {
    case DType::kF16: return with_half.template operator()<__half>();
    case DType::kBF16: return with_half.template operator()<__nv_bfloat16>();
    default:
      throw Error(HEARTH_UNSUPPORTED, format("Cannot attend: no tensor-core kernel for dtype %u",
                                             unsigned(spec.dtype)));
  }
}

}  // namespace hearth::cuda

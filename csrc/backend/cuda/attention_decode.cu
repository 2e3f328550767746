// Attention of sequences with one query: K and V stream through once, at the speed of the memory.
//
//   bytes   2 * context * num_kv_heads * head_dim * 2, read once; all else is hidden behind that
//
// DESIGN
//   Work      A piece: one chunk of one context (a DecodeItem), one KV head, up to 16 of its query
//             heads. Query heads are the rows of the tensor core's tile. CTAs stay for the whole
//             launch and take every gridDim.x-th piece, so that a recorded launch fits any number.
//   Ring      kStages stages (attention_tiles.cuh) in shared memory, filled by cp.async across the
//             borders of tiles and pieces: the memory never waits for a softmax. One barrier a stage
//             says both that it has landed for all and that the one before it is free.
//   Warps     The four warps of a CTA share a tile, without changing a sum:
//
//               K stage   a warp's octets of tokens: q · k, masked     -> scores in shared memory
//               V stage   all scores, by every warp: the same weights  -> a warp's own dimensions
//
//   Merge     A context of one chunk is written at once. Else each piece stores its partial; the one
//             that arrives last merges all, in order, and leaves the count at zero.
//   Ahead     Plan and block tables were copied before the step's first kernel: the first stages are
//             asked into L2 while the kernel ahead still writes the last token's K and V.
#include "attention_tiles.cuh"

#include <algorithm>

namespace hearth::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = kWarps * 32;
constexpr int kRows = 16;  // of the tensor core's tile
constexpr int kRingBytes = 80 * 1024;

template <int kHeadDim>
constexpr int kStages = kRingBytes / StageShape<kHeadDim>::kBytes;

/// The ring, a tile's scores in fp32, and the queries in 16 bits.
template <int kHeadDim>
constexpr int kSharedBytes = kStages<kHeadDim> * StageShape<kHeadDim>::kBytes +
                             kRows * kTileTokens * 4 + kRows * kHeadDim * 2;

/// Of query heads that share a KV head.
__device__ __forceinline__ int32_t group_size(const AttentionArgs& args) {
  return args.spec.num_heads / args.kv.spec.num_kv_heads;
}

constexpr int32_t passes_of(int32_t group) { return (group + kRows - 1) / kRows; }

struct Piece {
  int32_t item;
  int32_t sequence, chunk;
  int32_t first_chunk, num_chunks;  // that the query sees
  int32_t kv_head, first_head, num_rows;
  TokenRange visible;  // of the chunk
  int32_t first_tile, end_tile;
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
    piece.first_chunk = visible.begin / kChunkTokens;
    piece.num_chunks = (visible.end - 1) / kChunkTokens - piece.first_chunk + 1;
    piece.first_tile = piece.visible.begin / kTileTokens;
    piece.end_tile = (piece.visible.end + kTileTokens - 1) / kTileTokens;
    piece.kv_head = index % per_item / passes;
    const int32_t first_row = index % passes * kRows;
    piece.first_head = piece.kv_head * group + first_row;
    piece.num_rows = min(kRows, group - first_row);
    return true;
  }
  return false;
}

/// Where the next stage to ask for is.
template <int kHeadDim>
struct Loader {
  using Stage = StageShape<kHeadDim>;
  int32_t index = blockIdx.x;  // of the piece
  int32_t tile = 0, stage = 0;
  int32_t block_ids = 0;
  bool has_piece = false;
  Piece piece;

  __device__ __forceinline__ void begin_piece(const AttentionArgs& args) {
    has_piece = find_piece(args, index, piece);
    if (!has_piece) return let_next_begin();  // its weights may come behind our last stages
    tile = piece.first_tile;
    block_ids = load_block_ids(args, piece.sequence, piece.chunk);
  }

  template <bool kToL2 = false>
  __device__ __forceinline__ void load(const AttentionArgs& args, uint32_t to) {
    if (!has_piece) return;
    const int part = stage / Stage::kPerTile;
    const int32_t first = tile * kTileTokens + stage % Stage::kPerTile * Stage::kTokens;
    load_stage<kHeadDim, kThreads, kToL2>(args, piece.kv_head, part, block_ids, first,
                                          piece.visible, to);
    if (++stage < 2 * Stage::kPerTile) return;
    stage = 0;
    if (++tile < piece.end_tile) return;
    index += gridDim.x;
    begin_piece(args);
  }
};

__device__ __forceinline__ float* partial_of(const AttentionArgs& args, int32_t item,
                                             int32_t head) {
  return args.partials + (size_t(item) * args.spec.num_heads + head) * (args.kv.spec.head_dim + 2);
}

/// Merges the partials of all heads of the piece's KV head, in the order of chunks.
template <class Half, int kHeadDim>
__device__ __forceinline__ void merge_partials(const AttentionArgs& args, const Piece& piece,
                                               int32_t token) {
  constexpr int kBatch = 8;  // of loads on their way
  const int32_t group = group_size(args);
  const int32_t first_item = piece.item - piece.chunk + piece.first_chunk;
  const size_t stride = size_t(args.spec.num_heads) * (kHeadDim + 2);
  for (int32_t i = threadIdx.x; i < group * (kHeadDim / 2); i += kThreads) {
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
    store_pair<Half>(args, token, head, dim, o.x * factor, o.y * factor);
  }
}

template <class Half, int kHeadDim>
__global__ void __launch_bounds__(kThreads, 2)
    decode_kernel(const __grid_constant__ AttentionArgs args) {
  using Stage = StageShape<kHeadDim>;
  constexpr int kSteps = kHeadDim / 16;
  constexpr int kWarpOctets = Stage::kOctets / kWarps;        // of a K stage
  constexpr int kWarpPairs = (kSteps + kWarps - 1) / kWarps;  // of octets of dimensions
  extern __shared__ __align__(128) std::byte shared[];
  __shared__ bool is_last;
  const uint32_t ring = shared_address(shared);
  // As fragments: [octet of tokens][lane], and [step over dimensions][lane].
  float4* const scores = reinterpret_cast<float4*>(shared + kStages<kHeadDim> * Stage::kBytes);
  uint4* const queries = reinterpret_cast<uint4*>(scores + kTileOctets * 32);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int g = lane / 4, t = lane % 4;

  Loader<kHeadDim> loader;
  loader.begin_piece(args);
  Loader<kHeadDim> ahead = loader;
#pragma unroll 1
  for (int i = 0; i < kStages<kHeadDim> - 1; ++i) ahead.template load<true>(args, 0);
  wait_for_previous();
#pragma unroll 1
  for (int i = 0; i < kStages<kHeadDim> - 1; ++i) {
    loader.load(args, ring + i * Stage::kBytes);
    commit_copies();
  }

  int slot = kStages<kHeadDim> - 1;  // of the last stage that was used
  const auto next_stage = [&] {
    const int free = slot;
    slot = slot == kStages<kHeadDim> - 1 ? 0 : slot + 1;
    wait_for_copies<kStages<kHeadDim> - 2>();
    __syncthreads();
    loader.load(args, ring + free * Stage::kBytes);
    commit_copies();
    return ring + slot * Stage::kBytes;
  };

  const auto query = [&](int step, uint32_t (&a)[4]) {
    const uint4 four = queries[step * 32 + lane];
    a[0] = four.x, a[1] = four.y, a[2] = four.z, a[3] = four.w;
  };

  const float factor = score_factor(args.spec);
  Piece piece;
  for (int32_t index = blockIdx.x; find_piece(args, index, piece); index += gridDim.x) {
    const int32_t token = args.step.query_start[piece.sequence];
    const float* const from =
        args.q + (size_t(token) * args.spec.num_heads + piece.first_head) * kHeadDim + 2 * t;
    for (int step = warp; step < kSteps; step += kWarps) {
      uint32_t a[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {  // row g (+ 8), dimensions 2t (+ 8)
        const int row = g + i % 2 * 8, dim = step * 16 + i / 2 * 8;
        float2 pair = make_float2(0, 0);
        if (row < piece.num_rows) {
          pair = *reinterpret_cast<const float2*>(from + row * kHeadDim + dim);
        }
        a[i] = round_pair<Half>(pair.x, pair.y);
      }
      queries[step * 32 + lane] = make_uint4(a[0], a[1], a[2], a[3]);
    }
    const bool has_upper_rows = piece.num_rows > 8;

    RowState rows[2];
    float o[kWarpPairs][2][4] = {};
    for (int32_t tile = piece.first_tile; tile < piece.end_tile; ++tile) {
#pragma unroll 1
      for (int stage = 0; stage < Stage::kPerTile; ++stage) {
        float products[kWarpOctets][4] = {};
        multiply_keys<Half, kHeadDim, kWarpOctets>(query, next_stage(), warp * kWarpOctets,
                                                   products);
#pragma unroll
        for (int i = 0; i < kWarpOctets; ++i) {
          const int octet = stage * Stage::kOctets + warp * kWarpOctets + i;
          const int32_t first = tile * kTileTokens + octet * 8 + 2 * t;
          const bool sees[2] = {piece.visible.contains(first), piece.visible.contains(first + 1)};
          const float (&p)[4] = products[i];
          scores[octet * 32 + lane] = make_float4(
              sees[0] ? p[0] * factor : kMinusInfinity, sees[1] ? p[1] * factor : kMinusInfinity,
              sees[0] ? p[2] * factor : kMinusInfinity, sees[1] ? p[3] * factor : kMinusInfinity);
        }
      }

      uint32_t weights[kTileTokens / 16][4];
#pragma unroll
      for (int stage = 0; stage < Stage::kPerTile; ++stage) {
        const uint32_t values = next_stage();
        if (stage == 0) {
          float s[kTileOctets][4];
#pragma unroll
          for (int j = 0; j < kTileOctets; ++j) {
            const float4 four = scores[j * 32 + lane];
            s[j][0] = four.x, s[j][1] = four.y, s[j][2] = four.z, s[j][3] = four.w;
          }
          const float lower = weigh_row(s, 0, rows[0]);
          const float upper = has_upper_rows ? weigh_row(s, 1, rows[1]) : 0;
#pragma unroll
          for (auto& pair : o) {
#pragma unroll
            for (auto& octet : pair) {
              octet[0] *= lower, octet[1] *= lower, octet[2] *= upper, octet[3] *= upper;
            }
          }
#pragma unroll
          for (int step = 0; step < kTileTokens / 16; ++step) {
            weights_operand<Half>(s, step, weights[step]);
          }
        }
#pragma unroll
        for (int step = 0; step < Stage::kSteps; ++step) {
          multiply_values<Half, kHeadDim, kWarps>(weights[stage * Stage::kSteps + step], values,
                                                  step, warp, o);
        }
      }
    }

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
      for (int i = 0; i < kWarpPairs * 2; ++i) {
        const int32_t dim = (warp + i / 2 * kWarps) * 16 + i % 2 * 8 + 2 * t;
        if (dim >= kHeadDim) break;
        const float low = o[i / 2][i % 2][half * 2], high = o[i / 2][i % 2][half * 2 + 1];
        if (is_whole) {
          store_pair<Half>(args, token, head, dim, low * scale, high * scale);
        } else {
          *reinterpret_cast<float2*>(partial + dim) = make_float2(low, high);
        }
      }
    }
    const int32_t passes = passes_of(group_size(args));
    bool is_finished = is_whole;
    if (!is_whole) {
      int32_t* const arrivals =
          args.arrivals + size_t(piece.sequence) * args.kv.spec.num_kv_heads + piece.kv_head;
      __threadfence();
      __syncthreads();
      if (threadIdx.x == 0) {
        is_last = atomicAdd(arrivals, 1) == piece.num_chunks * passes - 1;
        if (is_last) *arrivals = 0;
      }
      __syncthreads();
      is_finished = is_last;
      if (is_finished) {
        __threadfence();
        merge_partials<Half, kHeadDim>(args, piece, token);
      }
    }
    // With the last head of all; where a group takes several passes, each of them may do it.
    if (is_finished && piece.kv_head == args.kv.spec.num_kv_heads - 1) {
      store_padding<Half>(args, token, threadIdx.x, kThreads);
    }
  }
}

template <class Half, int kHeadDim>
void launch_decode(Stream& stream, const AttentionArgs& args) {
  const auto kernel = decode_kernel<Half, kHeadDim>;
  allow_shared_memory(kernel, kSharedBytes<kHeadDim>);
  int per_multiprocessor = 0;
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&per_multiprocessor, kernel, kThreads,
                                                      kSharedBytes<kHeadDim>),
        "Cannot attend");
  const int32_t num_kv_heads = args.kv.spec.num_kv_heads;
  const int64_t pieces =
      int64_t(args.step.max_decodes) * num_kv_heads * passes_of(args.spec.num_heads / num_kv_heads);
  const int64_t ctas = int64_t(per_multiprocessor) * stream.num_multiprocessors;
  launch(stream, kernel, dim3(uint32_t(std::min(pieces, ctas))), dim3(kThreads),
         kSharedBytes<kHeadDim>, args);
}

template <class Half>
void choose_head_dim(Stream& stream, const AttentionArgs& args) {
  switch (args.kv.spec.head_dim) {
    case 64: return launch_decode<Half, 64>(stream, args);
    case 80: return launch_decode<Half, 80>(stream, args);
    case 96: return launch_decode<Half, 96>(stream, args);
    case 128: return launch_decode<Half, 128>(stream, args);
    case 256: return launch_decode<Half, 256>(stream, args);
    default:
      throw Error(HEARTH_UNSUPPORTED,
                  format("Cannot attend: no decode kernel for head_dim %d", args.kv.spec.head_dim));
  }
}

}  // namespace

void attention_decode(Stream& stream, const AttentionArgs& args) {
  if (args.step.max_decodes == 0) return;
  switch (args.kv.spec.dtype) {
    case DType::kF16: return choose_head_dim<__half>(stream, args);
    case DType::kBF16: return choose_head_dim<__nv_bfloat16>(stream, args);
    default:
      throw Error(HEARTH_UNSUPPORTED, format("Cannot attend: no tensor-core kernel for dtype %u",
                                             unsigned(args.kv.spec.dtype)));
  }
}

}  // namespace hearth::cuda

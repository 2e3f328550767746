// Attention of sequences with several queries, by mma.sync and cp.async: compute capability 8.0 and
// up. The Hopper kernel gives the same bits.
//
// DESIGN
//   Work      A CTA has up to 128 queries of a sequence (a PrefillItem) and one head, and goes over
//             the tiles that they see; items with most tiles come first. A warp has 16 queries:
//             their scores, weights and O stay in its registers.
//   Ring      kStages stages (attention_tiles.cuh) in shared memory, filled by cp.async, one
//             barrier each. Stages that a warp's queries do not see it skips but for the barrier.
//   Chunks    O of the chunk and of the total both lie in registers. Where head_dim is 256 two
//             warps share 16 queries: both make all weights, each has half of the dimensions, and a
//             CTA takes 64 queries.
#include "attention_tiles.cuh"
#include "variants.cuh"

namespace hearth::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * 32;
constexpr int kRingBytes = 64 * 1024;
constexpr int kTilesPerChunk = kChunkTokens / kTileTokens;

template <int kHeadDim>
struct Shape {
  using Stage = StageShape<kHeadDim>;
  static constexpr int kStages = kRingBytes / Stage::kBytes;
  static constexpr int kParts = kHeadDim > 128 ? 2 : 1;  // of the dimensions, a warp each
  static constexpr int kRows = kWarps / kParts * 16;
  static constexpr int kPairs = kHeadDim / 16 / kParts;  // of octets of dimensions
  static constexpr int kQueryBytes = kRows * kHeadDim * 2;
  static constexpr int kSharedBytes = kStages * Stage::kBytes + kQueryBytes;
};

/// Where the next stage to ask for is.
template <int kHeadDim>
struct Loader {
  using Stage = StageShape<kHeadDim>;
  int32_t sequence, kv_head;
  TokenRange seen;  // by some row of the CTA
  int32_t tile;
  int32_t stage = 0;
  int32_t block_ids = 0;

  __device__ __forceinline__ Loader(const AttentionArgs& args, int32_t sequence, int32_t kv_head,
                                    const TokenRange& seen)
      : sequence(sequence), kv_head(kv_head), seen(seen), tile(seen.begin / kTileTokens) {
    block_ids = load_block_ids(args, args.step.first_block[sequence], tile / kTilesPerChunk,
                               args.step.context_len[sequence]);
  }

  __device__ __forceinline__ void load(const AttentionArgs& args, uint32_t to) {
    if (tile * kTileTokens >= seen.end) return;
    const int32_t chunk_begin = tile / kTilesPerChunk * kChunkTokens;
    const int32_t first = tile * kTileTokens + stage % Stage::kPerTile * Stage::kTokens;
    load_stage<kHeadDim, kThreads>(args, kv_head, stage / Stage::kPerTile, block_ids,
                                   first - chunk_begin,
                                   {seen.begin - chunk_begin, seen.end - chunk_begin}, to);
    if (++stage < 2 * Stage::kPerTile) return;
    stage = 0;
    ++tile;
    if (tile * kTileTokens >= seen.end) return let_next_begin();
    if (tile % kTilesPerChunk == 0) {
      block_ids = load_block_ids(args, args.step.first_block[sequence], tile / kTilesPerChunk,
                                 args.step.context_len[sequence]);
    }
  }
};

/// Queries as core matrices [rows / 8][head_dim / 8][8][8], rounded; rows beyond num_rows: zeros.
template <class Half, int kHeadDim>
__device__ __forceinline__ void load_queries(const AttentionArgs& args, int32_t first_token,
                                             int32_t num_rows, int32_t head, std::byte* to) {
  constexpr int kUnits = Shape<kHeadDim>::kQueryBytes / 16;  // a row's 8 dimensions each
  for (int unit = threadIdx.x; unit < kUnits; unit += kThreads) {
    const int row = unit / (kHeadDim / 8), octet = unit % (kHeadDim / 8);
    uint4 value = make_uint4(0, 0, 0, 0);
    if (row < num_rows) {
      const float4* const from = reinterpret_cast<const float4*>(
          args.q + (size_t(first_token + row) * args.spec.num_heads + head) * kHeadDim + octet * 8);
      const float4 low = from[0], high = from[1];
      value = make_uint4(round_pair<Half>(low.x, low.y), round_pair<Half>(low.z, low.w),
                         round_pair<Half>(high.x, high.y), round_pair<Half>(high.z, high.w));
    }
    *reinterpret_cast<uint4*>(to + (row / 8 * (kHeadDim / 8) + octet) * 128 + row % 8 * 16) = value;
  }
}

template <class Half, int kHeadDim>
__global__ void __launch_bounds__(kThreads, 1)
    prefill_kernel(const __grid_constant__ AttentionArgs args) {
  using Stage = StageShape<kHeadDim>;
  using Shape = Shape<kHeadDim>;
  extern __shared__ __align__(128) std::byte shared[];
  const uint32_t ring = shared_address(shared);
  std::byte* const queries = shared + Shape::kStages * Stage::kBytes;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int g = lane / 4, t = lane % 4;
  const int first_row = warp / Shape::kParts * 16, part = warp % Shape::kParts;

  wait_for_previous();
  const int32_t head = blockIdx.x % args.spec.num_heads;
  const PrefillItem item = args.step.prefills[blockIdx.x / args.spec.num_heads];
  const int32_t first_token = item.first_token + blockIdx.y * Shape::kRows;
  const int32_t num_rows = min(Shape::kRows, item.first_token + item.num_tokens - first_token);
  if (num_rows <= 0) return;
  const int32_t kv_head = head / (args.spec.num_heads / args.kv.spec.num_kv_heads);
  // Of row 0. Rows beyond num_rows are made too, of zeros, and not stored.
  const int32_t position = args.step.context_len[item.sequence] -
                           (args.step.query_start[item.sequence + 1] - first_token);
  const int32_t window = args.spec.window;
  const TokenRange seen = {visible_tokens(position, window).begin, position + num_rows};
  const TokenRange warp_sees = {visible_tokens(position + first_row, window).begin,
                                min(position + first_row + 16, seen.end)};
  const TokenRange all_see = {visible_tokens(position + first_row + 15, window).begin,
                              position + first_row + 1};  // all rows of the warp
  const TokenRange visible[2] = {visible_tokens(position + first_row + g, window),
                                 visible_tokens(position + first_row + g + 8, window)};

  Loader<kHeadDim> loader(args, item.sequence, kv_head, seen);
#pragma unroll 1
  for (int i = 0; i < Shape::kStages - 1; ++i) {
    loader.load(args, ring + i * Stage::kBytes);
    commit_copies();
  }
  load_queries<Half, kHeadDim>(args, first_token, num_rows, head, queries);

  int slot = Shape::kStages - 1;  // of the last stage that was used
  const auto next_stage = [&] {
    const int free = slot;
    slot = slot == Shape::kStages - 1 ? 0 : slot + 1;
    wait_for_copies<Shape::kStages - 2>();
    __syncthreads();
    loader.load(args, ring + free * Stage::kBytes);
    commit_copies();
    return ring + slot * Stage::kBytes;
  };
  // Matrices: rows of octet lane / 8 % 2, octet of dimensions lane / 16.
  const uint32_t query_matrices =
      shared_address(queries) +
      ((first_row / 8 + lane / 8 % 2) * (kHeadDim / 8) + lane / 16) * 128 + lane % 8 * 16;
  const auto query = [&](int step, uint32_t(&a)[4]) {
    load_matrices(a, query_matrices + step * 256);
  };

  const float factor = score_factor(args.spec);
  RowState total[2], rows[2];
  float total_o[Shape::kPairs][2][4] = {}, o[Shape::kPairs][2][4] = {};
  const int32_t end_tile = (seen.end + kTileTokens - 1) / kTileTokens;
  for (int32_t tile = seen.begin / kTileTokens; tile < end_tile; ++tile) {
    const int32_t tile_begin = tile * kTileTokens, tile_end = tile_begin + kTileTokens;
    const auto sees_stage = [&](int stage) {
      const int32_t first = tile_begin + stage * Stage::kTokens;
      return first < warp_sees.end && first + Stage::kTokens > warp_sees.begin;
    };
    uint32_t weights[kTileTokens / 16][4];
    {
      float s[kTileOctets][4] = {};
#pragma unroll
      for (int stage = 0; stage < Stage::kPerTile; ++stage) {
        const uint32_t keys = next_stage();
        if (!sees_stage(stage)) continue;
        multiply_keys<Half, kHeadDim, Stage::kOctets>(query, keys, 0, &s[stage * Stage::kOctets]);
      }
      if (tile_begin < warp_sees.end && tile_end > warp_sees.begin) {
        scale_scores(s, factor);
        if (tile_begin < all_see.begin || tile_end > all_see.end) {
          mask_scores(s, tile_begin + 2 * t, visible);
        }
        const float lower = weigh_row(s, 0, rows[0]), upper = weigh_row(s, 1, rows[1]);
#pragma unroll
        for (auto& pair : o) {
#pragma unroll
          for (auto& octet : pair) {
            octet[0] *= lower, octet[1] *= lower, octet[2] *= upper, octet[3] *= upper;
          }
        }
      }
#pragma unroll
      for (int step = 0; step < kTileTokens / 16; ++step) {
        weights_operand<Half>(s, step, weights[step]);
      }
    }
#pragma unroll
    for (int stage = 0; stage < Stage::kPerTile; ++stage) {
      const uint32_t values = next_stage();
      if (!sees_stage(stage)) continue;
#pragma unroll
      for (int step = 0; step < Stage::kSteps; ++step) {
        multiply_values<Half, kHeadDim, 1>(weights[stage * Stage::kSteps + step], values, step,
                                           part * Shape::kPairs, o);
      }
    }
    if (tile % kTilesPerChunk != kTilesPerChunk - 1 && tile + 1 < end_tile) continue;

#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const RowState chunk = {rows[half].m, add_quad(rows[half].l)};
      const MergeFactors factors = merge_chunk(total[half], chunk);
      rows[half] = RowState();
#pragma unroll
      for (int i = 0; i < Shape::kPairs; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          float& from = o[i][j / 2][half * 2 + j % 2];
          float& to = total_o[i][j / 2][half * 2 + j % 2];
          to = factors.merge(to, from);
          from = 0;
        }
      }
    }
  }

#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int32_t row = first_row + g + half * 8;
    if (row >= num_rows) continue;
    const float scale = 1 / total[half].l;
#pragma unroll
    for (int i = 0; i < Shape::kPairs * 2; ++i) {
      const int32_t dim = part * Shape::kPairs * 16 + i * 8 + 2 * t;
      const float(&pair)[4] = total_o[i / 2][i % 2];
      store_pair<Half>(args, first_token + row, head, dim, pair[half * 2] * scale,
                       pair[half * 2 + 1] * scale);
    }
  }
  if (head == args.spec.num_heads - 1) {
    for (int row = warp; row < num_rows; row += kWarps) {
      store_padding<Half>(args, first_token + row, lane, 32);
    }
  }
}

template <class Half, int kHeadDim>
void launch_prefill(Stream& stream, const AttentionArgs& args) {
  using Shape = Shape<kHeadDim>;
  const auto kernel = prefill_kernel<Half, kHeadDim>;
  allow_shared_memory(kernel, Shape::kSharedBytes);
  const dim3 grid(args.step.num_prefills * args.spec.num_heads,
                  (kPrefillTile + Shape::kRows - 1) / Shape::kRows);
  launch(stream, kernel, grid, dim3(kThreads), Shape::kSharedBytes, args);
}

}  // namespace

void attention_prefill_sm80(Stream& stream, const AttentionArgs& args) {
  if (args.step.num_prefills == 0) return;
  with_head(args.kv.spec,
            [&]<class Half, int kHeadDim>() { launch_prefill<Half, kHeadDim>(stream, args); });
}

}  // namespace hearth::cuda

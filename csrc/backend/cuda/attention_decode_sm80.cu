// Decoding attention from Ampere on: K and V stream through once, at the speed of the memory.
//
//   bytes   2 * context * num_kv_heads * head_dim * 2, read once; all else is hidden behind that
//
// DESIGN
//   Pieces    And their end: attention_decode.cuh.
//   Ring      kStages stages (attention_tiles.cuh) in shared memory, filled by cp.async across the
//             borders of tiles and pieces: the memory never waits for a softmax. One barrier a
//             stage says both that it has landed for all and that the one before it is free.
//   Warps     The four warps of a CTA share a tile, without changing a sum:
//
//               K stage   a warp's octets of tokens: q · k, masked     -> scores in shared memory
//               V stage   all scores, by every warp: the same weights  -> a warp's own dimensions
#include "attention_decode.cuh"

namespace hearth::cuda {
namespace {

constexpr int kWarps = kDecodeWarps;
constexpr int kThreads = kDecodeThreads;
constexpr int kRows = kDecodeRows;

template <int kHeadDim>
constexpr int kStages = (kHeadDim > 128 ? 64 : 80) * 1024 / StageShape<kHeadDim>::kBytes;

/// The ring, a tile's scores in fp32, the queries in 16 bits, and what Results want.
template <int kHeadDim>
constexpr int kSharedBytes =
    kStages<kHeadDim> * StageShape<kHeadDim>::kBytes + kRows * kTileTokens * 4 +
    kRows * kHeadDim * 2 + Results<__half, kHeadDim>::kBytes;

/// Where the next stage to ask for is.
template <int kHeadDim>
struct Loader {
  using Stage = StageShape<kHeadDim>;
  PieceRange pieces;
  int32_t tile = 0, stage = 0;
  int32_t block_ids = 0;
  bool has_piece = false;
  Piece piece;

  __device__ __forceinline__ void begin_piece(const AttentionArgs& args) {
    has_piece = pieces.find(args, piece);
    if (!has_piece) return let_next_begin();  // its weights may come behind our last stages
    tile = piece.first_part(kTileTokens);
    block_ids = piece.block_ids(args, pieces.first_block());
  }

  __device__ __forceinline__ void load(const AttentionArgs& args, uint32_t to) {
    if (!has_piece) return;
    const int part = stage / Stage::kPerTile;
    const int32_t first = tile * kTileTokens + stage % Stage::kPerTile * Stage::kTokens;
    load_stage<kHeadDim, kThreads>(args, piece.kv_head, part, block_ids, first, piece.visible, to);
    if (++stage < 2 * Stage::kPerTile) return;
    stage = 0;
    if (++tile < piece.end_part(kTileTokens)) return;
    begin_piece(args);
  }
};

template <class Half, int kHeadDim>
__global__ void __launch_bounds__(kThreads, 2)
    decode_kernel(const __grid_constant__ AttentionArgs args) {
  using Stage = StageShape<kHeadDim>;
  constexpr int kSteps = kHeadDim / 16;
  constexpr int kWarpOctets = Stage::kOctets / kWarps;  // of a K stage
  extern __shared__ __align__(128) std::byte shared[];
  const uint32_t ring = shared_address(shared);
  // As fragments: [octet of tokens][lane], and [step over dimensions][lane].
  float4* const scores = reinterpret_cast<float4*>(shared + kStages<kHeadDim> * Stage::kBytes);
  uint4* const queries = reinterpret_cast<uint4*>(scores + kTileOctets * 32);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int g = lane / 4, t = lane % 4;

  Loader<kHeadDim> loader{PieceRange(args)};
  loader.begin_piece(args);
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

  const auto query = [&](int step, uint32_t(&a)[4]) {
    const uint4 four = queries[step * 32 + lane];
    a[0] = four.x, a[1] = four.y, a[2] = four.z, a[3] = four.w;
  };

  const float factor = score_factor(args.spec);
  PieceRange pieces(args);
  Piece piece;
  Results<Half, kHeadDim> results(queries + kSteps * 32);
  while (true) {
    const bool is_end = !pieces.find(args, piece);
    if (is_end || results.is_due()) results.finish(args);
    if (is_end) return;
    if (piece.stores_padding()) store_padding<Half>(args, piece.token, threadIdx.x, kThreads);
    const float* const from =
        args.q + (size_t(piece.token) * args.spec.num_heads + piece.first_head) * kHeadDim + 2 * t;
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
    float o[kDecodePairs<kHeadDim>][2][4] = {};
    const int32_t end_tile = piece.end_part(kTileTokens);
    for (int32_t tile = piece.first_part(kTileTokens); tile < end_tile; ++tile) {
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
          const float(&p)[4] = products[i];
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

    results.add(args, piece, rows, o);
  }
}

}  // namespace

void attention_decode_sm80(Stream& stream, const AttentionArgs& args) {
  with_head(args.kv.spec, [&]<class Half, int kHeadDim>() {
    const auto kernel = decode_kernel<Half, kHeadDim>;
    allow_shared_memory(kernel, kSharedBytes<kHeadDim>);
    launch_pieces(stream, kernel, kThreads, kSharedBytes<kHeadDim>, args);
  });
}

}  // namespace hearth::cuda

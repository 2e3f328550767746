// Decoding attention on Hopper: K and V stream through once, at the speed of the memory.
//
//   bytes   2 * context * num_kv_heads * head_dim * 2, read once; all else is hidden behind that
//
// DESIGN
//   Pieces    And their end: attention_decode.cuh.
//   Ring      kStages stages (attention_tiles.cuh) in shared memory: all K of a chunk, then all V.
//             A fifth warp fills it with bulk copies, a cell each, and runs ahead across pieces:
//             the memory never waits for a softmax. Two barriers a stage: it has landed, all have
//             used it.
//   Warps     Those that multiply meet twice in a chunk, and share it without changing a sum:
//
//               K        stages in turns: scores in registers  -> a row's largest score, by stage
//               meet     what is largest up to each tile is known before any weight is
//               weights  of the stages whose scores a warp has -> all weights, fp32
//               meet
//               V        all stages, a warp's own dimensions; each lane adds up l beside that
//
//   Unseen    Only the octets of tokens that are seen are copied. What the others' places hold
//             becomes -inf as a score, and 0 as a fragment of V, since a weight of 0 meets no NaN.
//   Ahead     Plan and block tables were copied before the step's first kernel: the first stages
//             are asked into L2 while the kernel ahead still writes the last token's K and V.
#include "attention_decode.cuh"

#if defined(__CUDA_ARCH__) && !HEARTH_HOPPER
#pragma nv_diag_suppress 177  // the kernel is empty here and uses nothing of what follows
#endif

namespace hearth::cuda {
namespace {

constexpr int kThreads = kDecodeThreads + 32;
constexpr int kChunkTiles = kChunkTokens / kTileTokens;
constexpr int kChunkSteps = kChunkTokens / 16;  // of an mma over the tokens

template <int kHeadDim>
struct Shape {
  using Stage = StageShape<kHeadDim>;
  static constexpr int kStages = 80 * 1024 / Stage::kBytes;
  static constexpr int kPerChunk = kChunkTokens / Stage::kTokens;
  static constexpr int kTurns = kPerChunk / kDecodeWarps;  // of a warp
};
constexpr int kPieces = 4;  // that are known ahead, at most

/// A ring's barriers: what is in a slot has come, and all warps that multiply have used it.
template <int kSlots>
struct Barriers {
  uint64_t full[kSlots], empty[kSlots];

  __device__ __forceinline__ void init() {
    for (int slot = 0; slot < kSlots; ++slot) {
      barrier_init(shared_address(&full[slot]), 1);
      barrier_init(shared_address(&empty[slot]), kDecodeWarps * kWarpArrivals);
    }
  }
};

/// Where in a ring a warp is. It waits for every slot in turn, also for those that it does not use:
/// parity tells a slot's use from the one before, and not from the one before that.
template <int kSlots>
struct Place {
  uint32_t slot = 0, parity = 0;

  __device__ __forceinline__ void wait_until_full(Barriers<kSlots>& barriers) const {
    barrier_wait(shared_address(&barriers.full[slot]), parity);
  }
  __device__ __forceinline__ void wait_until_empty(Barriers<kSlots>& barriers) const {
    barrier_wait(shared_address(&barriers.empty[slot]), parity ^ 1);
  }
  /// This warp has used the slot, and goes on to the next.
  __device__ __forceinline__ void release(Barriers<kSlots>& barriers) {
    barrier_arrive_warp(shared_address(&barriers.empty[slot]));
    advance();
  }
  __device__ __forceinline__ void advance() {
    if (++slot == kSlots) slot = 0, parity ^= 1;
  }
};

/// Behind it lie the weights, as fragments: [rows / 8][steps over the chunk's tokens][lane],
/// columns 2t, 2t + 1, 2t + 8 and 2t + 9 of row g.
template <int kHeadDim>
struct alignas(128) Shared {
  using S = Shape<kHeadDim>;
  std::byte ring[S::kStages][S::Stage::kBytes];
  Barriers<S::kStages> stages;
  /// What the stages belong to; num_rows 0: the end.
  Piece piece[kPieces];
  Barriers<kPieces> pieces;
  float largest[kDecodeRows][S::kPerChunk];  // of a row's scores, by stage

  __device__ __forceinline__ float4* weights(int half, int step) {
    return reinterpret_cast<float4*>(this + 1) + (half * kChunkSteps + step) * 32 +
           threadIdx.x % 32;
  }
  /// Where a group of more rows has the weights of the upper ones.
  __device__ __forceinline__ void* total() { return weights(1, 0) - threadIdx.x % 32; }
  static size_t bytes(int32_t group) {
    constexpr size_t kHalf = kChunkSteps * 32 * sizeof(float4);
    return sizeof(Shared) + kHalf + (group > 8 ? kHalf : Results<__half, kHeadDim>::kBytes);
  }
};

// --------------------------------------------------------------------------------- the copies

/// Of a stage: what this lane copies, and the bytes of all lanes.
struct StageCopy {
  const std::byte* from;
  uint32_t offset, bytes;  // in the stage; 0: nothing
  uint32_t stage_bytes;
};

/// A piece's stages. A lane copies of a stage at most a block, and what octets of it are seen.
template <int kHeadDim>
class StageSource {
 public:
  using Stage = StageShape<kHeadDim>;

  __device__ __forceinline__ StageSource(const AttentionArgs& args, const Piece& piece,
                                         int32_t first_block)
      : first_(piece.first_part(Stage::kTokens)), count_(piece.end_part(Stage::kTokens) - first_),
        begin_(piece.visible.begin & ~7), end_((piece.visible.end + 7) & ~7),
        block_tokens_(args.kv.spec.block_tokens), block_bytes_(args.kv.spec.block_bytes()),
        block_ids_(piece.block_ids(args, first_block)) {
    for (int part = 0; part < 2; ++part) {
      cells_[part] = cell_address(args.kv, args.spec.layer, 0, part, piece.kv_head);
    }
  }

  /// Stages of K, then of V.
  __device__ __forceinline__ int32_t count() const { return 2 * count_; }

  __device__ __forceinline__ StageCopy copy(int32_t i) const {
    constexpr uint32_t kTokenBytes = kHeadDim * 2;
    const bool is_value = i >= count_;
    const int32_t stage_first = (first_ + i - (is_value ? count_ : 0)) * Stage::kTokens;
    const int32_t begin = max(begin_, stage_first), end = min(end_, stage_first + Stage::kTokens);
    const int32_t lane_tokens = min(block_tokens_, Stage::kTokens);
    const int32_t lane_first = stage_first + int32_t(threadIdx.x % 32) * lane_tokens;
    const int32_t first = max(begin, lane_first);
    const int32_t count = min(end, lane_first + lane_tokens) - first;
    const int log_block_tokens = 31 - __clz(block_tokens_);
    const int32_t block = __shfl_sync(0xffffffff, block_ids_, lane_first >> log_block_tokens);
    return {(is_value ? cells_[1] : cells_[0]) + block * block_bytes_ +
                (first & (block_tokens_ - 1)) * kTokenBytes,
            (first - stage_first) * kTokenBytes, count > 0 ? count * kTokenBytes : 0,
            (end - begin) * kTokenBytes};
  }

 private:
  int32_t first_, count_;  // of the chunk's stages
  int32_t begin_, end_;    // of the chunk's tokens, by octets
  int32_t block_tokens_;
  size_t block_bytes_;
  int32_t block_ids_;
  const std::byte* cells_[2];  // of block 0: K's and V's
};

__device__ __forceinline__ void prefetch_bulk(const void* from, uint32_t bytes) {
#if HEARTH_HOPPER
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from), "r"(bytes) : "memory");
#endif
}

/// Finds the pieces and asks for their stages, in order. By one warp.
template <class Half, int kHeadDim>
__device__ __forceinline__ void fill_ring(const AttentionArgs& args, Shared<kHeadDim>& shared) {
  using S = Shape<kHeadDim>;
  const int lane = threadIdx.x % 32;
  Place<S::kStages> place;
  Place<kPieces> piece_place;
  const auto hand_over = [&](const Piece& piece) {
    piece_place.wait_until_empty(shared.pieces);
    if (lane == 0) {
      shared.piece[piece_place.slot] = piece;
      barrier_arrive(shared_address(&shared.pieces.full[piece_place.slot]));
    }
    piece_place.advance();
  };

  PieceRange pieces(args);
  Piece piece;
  bool is_first = true;
  while (pieces.find(args, piece)) {
    hand_over(piece);
    const StageSource<kHeadDim> source(args, piece, pieces.first_block());
    if (is_first) {
      for (int32_t i = 0; i < min(source.count(), S::kStages); ++i) {
        const StageCopy ahead = source.copy(i);
        if (ahead.bytes > 0) prefetch_bulk(ahead.from, ahead.bytes);
      }
      wait_for_previous();
      is_first = false;
    }
    if (piece.stores_padding()) store_padding<Half>(args, piece.token, lane, 32);
    for (int32_t i = 0; i < source.count(); ++i, place.advance()) {
      const StageCopy next = source.copy(i);
      const uint32_t full = shared_address(&shared.stages.full[place.slot]);
      place.wait_until_empty(shared.stages);
      if (lane == 0) barrier_arrive_expect(full, next.stage_bytes);
      __syncwarp();
      if (next.bytes > 0) {
        copy_bulk(shared_address(shared.ring[place.slot]) + next.offset, next.from, next.bytes,
                  full);
      }
    }
  }
  let_next_begin();  // its weights may come behind our last stages
  piece.num_rows = 0;
  hand_over(piece);
  wait_for_previous();
}

// ------------------------------------------------------------------------------- the products

/// The piece's queries, rounded, as A operands. Rows beyond it are zeros.
template <class Half, int kHeadDim>
__device__ __forceinline__ void load_queries(const AttentionArgs& args, const Piece& piece,
                                             uint32_t (&q)[kHeadDim / 16][4]) {
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  const float* const from =
      args.q + (size_t(piece.token) * args.spec.num_heads + piece.first_head) * kHeadDim + 2 * t;
#pragma unroll
  for (int step = 0; step < kHeadDim / 16; ++step) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {  // row g (+ 8), dimensions 2t (+ 8)
      const int row = g + i % 2 * 8, dim = step * 16 + i / 2 * 8;
      float2 pair = make_float2(0, 0);
      if (row < piece.num_rows) {
        pair = *reinterpret_cast<const float2*>(from + row * kHeadDim + dim);
      }
      q[step][i] = round_pair<Half>(pair.x, pair.y);
    }
  }
}

/// Products of a stage whose first token is `first` become scores. largest: of rows g and g + 8.
template <int kOctets>
__device__ __forceinline__ void scores_of(float (&s)[kOctets][4], float factor, int32_t first,
                                          const TokenRange& visible, float (&largest)[2]) {
  const int t = threadIdx.x % 4;
#pragma unroll
  for (auto& octet : s) {
#pragma unroll
    for (float& score : octet) score *= factor;
  }
  if (first < visible.begin || first + kOctets * 8 > visible.end) {
#pragma unroll
    for (int i = 0; i < kOctets * 4; ++i) {
      if (!visible.contains(first + i / 4 * 8 + 2 * t + i % 2)) s[i / 4][i % 4] = kMinusInfinity;
    }
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float& m = largest[half];
    m = kMinusInfinity;
#pragma unroll
    for (const auto& octet : s) m = fmaxf(m, fmaxf(octet[half * 2], octet[half * 2 + 1]));
    m = fmaxf(m, __shfl_xor_sync(0xffffffff, m, 1));
    m = fmaxf(m, __shfl_xor_sync(0xffffffff, m, 2));
  }
}

/// What weights of a row are relative to.
__device__ __forceinline__ float exponent_base(float m) { return m == kMinusInfinity ? 0 : m; }

/// A row's largest score up to and with a tile of the chunk.
struct TileMaxima {
  float of_tile[kChunkTiles];

  /// stages: of the row, of which those in [first, end) were seen.
  template <int kPerTile>
  __device__ __forceinline__ void find(const float* stages, int32_t first, int32_t end) {
    float m = kMinusInfinity;
#pragma unroll
    for (int stage = 0; stage < kChunkTiles * kPerTile; ++stage) {
      const float largest = stages[stage];
      if (stage >= first && stage < end) m = fmaxf(m, largest);
      of_tile[stage / kPerTile] = m;
    }
  }
  __device__ __forceinline__ float operator[](int32_t tile) const {
    static_assert(kChunkTiles == 4);
    return tile < 2 ? tile == 0 ? of_tile[0] : of_tile[1] : tile == 2 ? of_tile[2] : of_tile[3];
  }
};

/// Takes a row to a tile, m being its largest score up to there: weigh_row() before the weights.
__device__ __forceinline__ float begin_tile(RowState& row, float m) {
  const float factor = exp2_approximate(row.m - exponent_base(m));
  row = {m, row.l * factor};
  return factor;
}

/// All that rows g and g + 8 weigh 16 tokens with: the A operand. Adds to their l.
template <class Half>
__device__ __forceinline__ void weigh(const float4 (&weights)[2], RowState (&rows)[2],
                                      uint32_t (&a)[4]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float4& p = weights[half];
    float& l = rows[half].l;
    l += p.x, l += p.y, l += p.z, l += p.w;
    a[half] = round_pair<Half>(p.x, p.y);
    a[half + 2] = round_pair<Half>(p.z, p.w);
  }
}

/// Of a fragment of two tokens, first and first + 1, the bits of those that are seen.
__device__ __forceinline__ uint32_t seen_bits(const TokenRange& visible, int32_t first) {
  return (visible.contains(first) ? 0xffffu : 0) | (visible.contains(first + 1) ? 0xffff0000u : 0);
}

/// o += weights times v of a stage whose first token is `first`, a warp's own dimensions.
/// kIsWhole: all its tokens are seen.
template <class Half, int kHeadDim, bool kIsWhole>
__device__ __forceinline__ void add_values(const float4 (&weights)[StageShape<kHeadDim>::kSteps][2],
                                           uint32_t stage, int32_t first, const TokenRange& visible,
                                           RowState (&rows)[2],
                                           float (&o)[kDecodePairs<kHeadDim>][2][4]) {
  using Stage = StageShape<kHeadDim>;
  constexpr int kPairs = kDecodePairs<kHeadDim>;
  constexpr int kAtOnce = kPairs > 2 ? 1 : 2;  // there is no room for more
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, matrix = lane / 8;
  const uint32_t from = stage + matrix % 2 * Stage::kOctetBytes + matrix / 2 * 128 + lane % 8 * 16;
#pragma unroll
  for (int step = 0; step < Stage::kSteps; ++step) {
    uint32_t a[4], seen[2] = {~0u, ~0u};
    // Some loads, then their products: none waits for a load of its own.
#pragma unroll
    for (int base = 0; base < kPairs; base += kAtOnce) {
      uint32_t b[kAtOnce][4];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const int at = warp + (base + i) * kDecodeWarps;
        if (base + i >= kPairs || at >= kHeadDim / 16) break;
        load_matrices_transposed(b[i], from + step * 2 * Stage::kOctetBytes + at * 256);
      }
      if (base == 0) {
        weigh<Half>(weights[step], rows, a);
        if (!kIsWhole) {
          const int32_t token = first + step * 16 + 2 * (lane % 4);
          seen[0] = seen_bits(visible, token), seen[1] = seen_bits(visible, token + 8);
        }
      }
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        if (base + i >= kPairs || warp + (base + i) * kDecodeWarps >= kHeadDim / 16) break;
        mma<Half>(o[base + i][0], a, b[i][0] & seen[0], b[i][1] & seen[1]);
        mma<Half>(o[base + i][1], a, b[i][2] & seen[0], b[i][3] & seen[1]);
      }
    }
  }
}

/// All pieces, in order, by the warps that multiply.
template <class Half, int kHeadDim>
__device__ __forceinline__ void reduce_pieces(const AttentionArgs& args, Shared<kHeadDim>& shared) {
  using S = Shape<kHeadDim>;
  using Stage = typename S::Stage;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int g = lane / 4, t = lane % 4;
  const float factor = score_factor(args.spec);
  Place<S::kStages> place;
  Place<kPieces> piece_place;
  Results<Half, kHeadDim> results(shared.total());
  wait_for_previous();
  while (true) {
    piece_place.wait_until_full(shared.pieces);
    const Piece& piece = shared.piece[piece_place.slot];
    if (piece.num_rows == 0 || results.is_due()) results.finish(args);
    if (piece.num_rows == 0) return;
    const int32_t first = piece.first_part(Stage::kTokens), end = piece.end_part(Stage::kTokens);
    const bool has_upper_rows = piece.num_rows > 8;
    float s[S::kTurns][Stage::kOctets][4];
    {
      uint32_t q[kHeadDim / 16][4];
      load_queries<Half, kHeadDim>(args, piece, q);
      const auto query = [&](int step, uint32_t(&a)[4]) {
#pragma unroll
        for (int i = 0; i < 4; ++i) a[i] = q[step][i];
      };
#pragma unroll
      for (int turn = 0; turn < S::kTurns; ++turn) {
#pragma unroll 1
        for (int i = 0; i < kDecodeWarps; ++i) {
          const int32_t stage = first + turn * kDecodeWarps + i;
          if (stage >= end) break;
          place.wait_until_full(shared.stages);
          if (i == warp) {
#pragma unroll
            for (auto& octet : s[turn]) octet[0] = octet[1] = octet[2] = octet[3] = 0;
            multiply_keys<Half, kHeadDim, Stage::kOctets>(
                query, shared_address(shared.ring[place.slot]), 0, s[turn]);
          }
          place.release(shared.stages);
          if (i == warp) {
            float largest[2];
            scores_of(s[turn], factor, stage * Stage::kTokens, piece.visible, largest);
            if (t == 0) {
              shared.largest[g][stage] = largest[0];
              shared.largest[g + 8][stage] = largest[1];
            }
          }
        }
      }
    }
    meet();

    TileMaxima largest[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      largest[half].template find<Stage::kPerTile>(shared.largest[g + half * 8], first, end);
    }
#pragma unroll
    for (int turn = 0; turn < S::kTurns; ++turn) {
      const int32_t stage = first + turn * kDecodeWarps + warp;
      if (stage >= end) break;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        if (half == 1 && !has_upper_rows) break;
        const float base = exponent_base(largest[half][stage / Stage::kPerTile]);
#pragma unroll
        for (int step = 0; step < Stage::kSteps; ++step) {
          const float* const low = &s[turn][step * 2][half * 2];
          const float* const high = &s[turn][step * 2 + 1][half * 2];
          *shared.weights(half, stage * Stage::kSteps + step) =
              make_float4(exp2_approximate(low[0] - base), exp2_approximate(low[1] - base),
                          exp2_approximate(high[0] - base), exp2_approximate(high[1] - base));
        }
      }
    }
    meet();

    RowState rows[2];
    float o[kDecodePairs<kHeadDim>][2][4] = {};
#pragma unroll 1
    for (int32_t stage = first; stage < end; ++stage) {
      if (stage == first || stage % Stage::kPerTile == 0) {
        const float lower = begin_tile(rows[0], largest[0][stage / Stage::kPerTile]);
        const float upper = begin_tile(rows[1], largest[1][stage / Stage::kPerTile]);
#pragma unroll
        for (auto& pair : o) {
#pragma unroll
          for (auto& octet : pair) {
            octet[0] *= lower, octet[1] *= lower, octet[2] *= upper, octet[3] *= upper;
          }
        }
      }
      float4 weights[Stage::kSteps][2];
#pragma unroll
      for (int step = 0; step < Stage::kSteps; ++step) {
        weights[step][0] = *shared.weights(0, stage * Stage::kSteps + step);
        weights[step][1] = make_float4(0, 0, 0, 0);
        if (has_upper_rows) weights[step][1] = *shared.weights(1, stage * Stage::kSteps + step);
      }
      place.wait_until_full(shared.stages);
      const uint32_t values = shared_address(shared.ring[place.slot]);
      const int32_t token_first = stage * Stage::kTokens;
      if (token_first >= piece.visible.begin && token_first + Stage::kTokens <= piece.visible.end) {
        add_values<Half, kHeadDim, true>(weights, values, token_first, piece.visible, rows, o);
      } else {
        add_values<Half, kHeadDim, false>(weights, values, token_first, piece.visible, rows, o);
      }
      place.release(shared.stages);
    }
    results.add(args, piece, rows, o);
    piece_place.release(shared.pieces);
  }
}

template <class Half, int kHeadDim>
__global__ void __launch_bounds__(kThreads, 2)
    decode_kernel(const __grid_constant__ AttentionArgs args) {
#if HEARTH_HOPPER
  extern __shared__ __align__(128) std::byte memory[];
  auto& shared = reinterpret_cast<Shared<kHeadDim>&>(memory);
  if (threadIdx.x == 0) {
    shared.stages.init();
    shared.pieces.init();
    fence_barrier_init();
  }
  __syncthreads();
  if (threadIdx.x < kDecodeThreads) {
    reduce_pieces<Half, kHeadDim>(args, shared);
  } else {
    fill_ring<Half, kHeadDim>(args, shared);
  }
#endif
}

}  // namespace

void attention_decode_sm90(Stream& stream, const AttentionArgs& args) {
  with_head(args.kv.spec, [&]<class Half, int kHeadDim>() {
    using Memory = Shared<kHeadDim>;
    const auto kernel = decode_kernel<Half, kHeadDim>;
    // The most that any group takes: a recorded launch depends on it.
    allow_shared_memory(kernel, Memory::bytes(kDecodeRows));
    launch_pieces(stream, kernel, kThreads, Memory::bytes(group_size(args)), args);
  });
}

}  // namespace hearth::cuda

// Attention of sequences with several queries on Hopper, after FlashAttention-3: bulk copies bring
// K and V tile by tile, wgmma multiplies, and two warpgroups take turns, so that one's softmax runs
// beside the other's products. Numerics: docs/decisions/0007-cuda-numerics.md.
//
// DESIGN
//   Pieces     A piece of work is 128 queries of a head, 64 for each of two consumers (warpgroups).
//              A producer warp keeps a ring of tiles filled. There is a CTA for each
//              multiprocessor; it walks the pieces in rounds, largest first, and its producer runs
//              ahead into the next one. With head_dim 256 a piece has 64 queries, and each consumer
//              makes all of their scores but only half of the output's dimensions: so it has
//              registers for a chunk's output beside the total's.
//   Ring       K, V, K, V, ...: a slot is a tile of 128 tokens as its cells lie in memory, whose
//              core matrices wgmma reads without swizzle, V transposed. A slot's `full` counts its
//              bytes, its `empty` the consumers' warps.
//   Turns      In its turn a consumer enqueues p V of a tile and q K of the next one, back to back.
//              Softmax comes outside of it, and the merge of a chunk while q K is being made.
//   Edges      Tokens of V that nobody in the piece sees may hold anything, NaN too, which a weight
//              of 0 does not silence: they become zeros in shared memory. K's scores are masked.
#include <algorithm>

#include "attention.h"
#include "attention_rows.cuh"
#include "variants.cuh"
#include "wgmma.cuh"

namespace hearth::cuda {
namespace {

constexpr int kConsumers = 2;
constexpr int kWarpgroupThreads = 128;
constexpr int kThreads = (kConsumers + 1) * kWarpgroupThreads;  // the producer's last
constexpr int kWarpgroupRows = 64;
constexpr int kMaxSharedBytes = 227 * 1024;
constexpr int kCoreMatrixBytes = 128;

/// What follows from head_dim.
template <int head_dim>
struct Shape {
  static constexpr bool kSplitsDims = head_dim > 128;
  static constexpr int kRows =
      kSplitsDims ? kWarpgroupRows : kConsumers * kWarpgroupRows;  // of a piece
  static constexpr int kParts = kPrefillTile / kRows;              // pieces of an item and head
  static constexpr int kOutDims = kSplitsDims ? head_dim / kConsumers : head_dim;  // of a consumer
  static constexpr int kQueryThreads = (kSplitsDims ? kConsumers : 1) * kWarpgroupThreads;
  // Bytes in shared memory.
  static constexpr int kOctet = head_dim / 8 * kCoreMatrixBytes;  // 8 queries or tokens
  static constexpr int kQueries = kRows / 8 * kOctet;
  static constexpr int kTile = kTileOctets * kOctet;
  static constexpr int kBarriers = 128;
  static constexpr int kSlots = std::min(6, (kMaxSharedBytes - kQueries - kBarriers) / kTile);
  static constexpr int kAll = kQueries + kSlots * kTile + kBarriers;
  static_assert(kSlots >= 3 && kSlots * 16 <= kBarriers);
  static_assert(kOutDims <= 128 && kQueryThreads % kWarpgroupThreads == 0);
};

#if HEARTH_HOPPER

// Of a thread: 128 * (24 + 2 * 240) are no more than the CTA begins with, 384 * 168.
constexpr int kProducerRegisters = 24, kConsumerRegisters = 240;

/// Shared addresses: queries | slots | full [slots] | empty [slots].
template <int head_dim>
struct Shared {
  using S = Shape<head_dim>;
  uint32_t queries;
  __device__ uint32_t slot(int index) const { return queries + S::kQueries + index * S::kTile; }
  __device__ uint32_t full(int index) const { return slot(S::kSlots) + index * 8; }
  __device__ uint32_t empty(int index) const { return full(S::kSlots) + index * 8; }
};

/// Where a warp is in the ring.
template <int slots>
struct RingPosition {
  int slot = 0;
  uint32_t parity = 0;
  __device__ __forceinline__ void advance() {
    if (++slot == slots) {
      slot = 0;
      parity ^= 1;
    }
  }
};

/// Queries of a head that a CTA takes at a time.
struct Piece {
  int32_t head;
  int32_t sequence;
  int32_t first_token;  // of the step
  int32_t num_tokens;
  int32_t first_position;
  TokenRange visible;  // to any of them

  __device__ int32_t first_tile() const { return visible.begin / kTileTokens; }
  __device__ int32_t end_tile() const { return (visible.end + kTileTokens - 1) / kTileTokens; }
};

/// The same value, for the compiler to know that a warp's lanes have it in common: it then needs
/// none of their registers.
__device__ __forceinline__ int32_t uniform(int32_t value) {
  return __shfl_sync(0xffffffff, value, 0);
}

template <int head_dim>
__device__ __forceinline__ Piece find_piece(const AttentionArgs& args, int32_t index) {
  using S = Shape<head_dim>;
  const StepView& step = args.step;
  const PrefillItem& item = step.prefills[index / S::kParts / args.spec.num_heads];
  const int32_t first_row = index % S::kParts * S::kRows;
  Piece piece;
  piece.head = index / S::kParts % args.spec.num_heads;
  piece.sequence = uniform(item.sequence);
  piece.first_token = uniform(item.first_token) + first_row;
  piece.num_tokens = min(uniform(item.num_tokens) - first_row, S::kRows);
  // A sequence's queries are the last tokens of its context.
  piece.first_position = uniform(step.context_len[piece.sequence] -
                                 step.query_start[piece.sequence + 1] + piece.first_token);
  piece.visible = {visible_tokens(piece.first_position, args.spec.window).begin,
                   piece.first_position + piece.num_tokens};
  return piece;
}

/// Calls run(piece) for the CTA's pieces: one of each round, forth and back over the CTAs, so that
/// none gets the largest of every round.
template <int head_dim, class Run>
__device__ __forceinline__ void for_each_piece(const AttentionArgs& args, Run&& run) {
  const int32_t ctas = gridDim.x, cta = blockIdx.x;
  const int32_t end = args.step.num_prefills * args.spec.num_heads * Shape<head_dim>::kParts;
  bool is_back = false;
  for (int32_t round = 0; round < end; round += ctas, is_back = !is_back) {
    const int32_t index = round + (is_back ? ctas - 1 - cta : cta);
    if (index >= end) continue;
    const Piece piece = find_piece<head_dim>(args, index);
    if (piece.num_tokens > 0) run(piece);
  }
}

// ------------------------------------------------------------------------------------ producer

/// Fills the ring with a piece's tiles, a lane for each cell. Cells that no query sees need not
/// exist; their part of a slot stays as it is. By one warp.
template <int head_dim>
__device__ __forceinline__ void load_tiles(const AttentionArgs& args, Shared<head_dim> shared,
                                           const Piece& piece,
                                           RingPosition<Shape<head_dim>::kSlots>& ring) {
  const KvSpec& spec = args.kv.spec;
  const int lane = threadIdx.x % 32;
  const int32_t* blocks = args.step.blocks_of(piece.sequence);
  const int32_t kv_head = piece.head / (args.spec.num_heads / spec.num_kv_heads);
  const uint32_t cell_bytes = spec.block_tokens * head_dim * 2;
  const int32_t in_tile = lane * spec.block_tokens;  // the lane's first token
  for (int32_t tile = piece.first_tile(); tile < piece.end_tile(); ++tile) {
    const int32_t first = tile * kTileTokens + in_tile;
    const bool is_seen = in_tile < kTileTokens && first < piece.visible.end &&
                         first + spec.block_tokens > piece.visible.begin;
    const int32_t block = is_seen ? blocks[first / spec.block_tokens] : 0;
    const uint32_t bytes = __popc(__ballot_sync(0xffffffff, is_seen)) * cell_bytes;
    for (int part = 0; part < 2; ++part) {
      barrier_wait(shared.empty(ring.slot), ring.parity ^ 1);
      if (lane == 0) barrier_arrive_expect(shared.full(ring.slot), bytes);
      __syncwarp();
      if (is_seen) {
        copy_bulk(shared.slot(ring.slot) + in_tile * head_dim * 2,
                  cell_address(args.kv, args.spec.layer, block, part, kv_head), cell_bytes,
                  shared.full(ring.slot));
      }
      ring.advance();
    }
  }
}

// ----------------------------------------------------------------------------------- consumers

__device__ __forceinline__ void store_shared(uint32_t to, const uint32_t (&value)[4]) {
  asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(value[0]), "r"(value[1]),
               "r"(value[2]), "r"(value[3])
               : "memory");
}

/// The same value, of which the compiler knows nothing: it would compute ahead what follows from
/// it, and keep that in registers that we do not have.
__device__ __forceinline__ uint64_t opaque(uint64_t value) {
  asm volatile("" : "+l"(value));
  return value;
}
__device__ __forceinline__ int opaque(int value) {
  asm volatile("" : "+r"(value));
  return value;
}

/// 64 queries, from row first_row of the piece, rounded, to core matrices in shared memory. Rows
/// beyond the piece are zeros. By kQueryThreads threads.
template <class Half, int head_dim>
__device__ __forceinline__ void load_queries(const AttentionArgs& args, const Piece& piece,
                                             int first_row, uint32_t to) {
  const size_t row_size = size_t(args.spec.num_heads) * head_dim;
  const float* q = args.q + piece.first_token * row_size + piece.head * head_dim;
  constexpr int kStep = Shape<head_dim>::kQueryThreads;
#pragma unroll 4
  for (int i = threadIdx.x % kStep; i < kWarpgroupRows * head_dim / 8; i += kStep) {
    const int row = first_row + i / head_dim * 8 + i % 8, dim = i % head_dim / 8 * 8;
    uint32_t octet[4] = {};
    if (row < piece.num_tokens) {
      const float4* from = reinterpret_cast<const float4*>(q + row * row_size + dim);
      const float4 low = from[0], high = from[1];
      octet[0] = round_pair<Half>(low.x, low.y);
      octet[1] = round_pair<Half>(low.z, low.w);
      octet[2] = round_pair<Half>(high.x, high.y);
      octet[3] = round_pair<Half>(high.z, high.w);
    }
    store_shared(to + i * 16, octet);
  }
}

/// Zeroes the tokens of a tile in shared memory that are outside a range. By a warpgroup.
template <int head_dim>
__device__ __forceinline__ void zero_outside(uint32_t tile, TokenRange range) {
  constexpr uint32_t kZeros[4] = {};
  for (int i = threadIdx.x % kWarpgroupThreads; i < kTileTokens * head_dim / 8;
       i += kWarpgroupThreads) {
    if (!range.contains(i / head_dim * 8 + i % 8)) store_shared(tile + i * 16, kZeros);
  }
}

/// A warpgroup with 64 rows, of which a lane has two, 8 apart; columns as in an mma's accumulators.
template <class Half, int head_dim>
struct Consumer {
  using S = Shape<head_dim>;
  static constexpr int kSums = S::kOutDims / 2;  // of a lane
  using Scores = float[kTileTokens / 2];

  const AttentionArgs& args;
  const Shared<head_dim> shared;
  const int warpgroup;
  RingPosition<S::kSlots> ring;

  float s[kTileOctets][4];  // scores, then weights
  uint32_t p[kTileTokens / 16][4];
  float chunk[kSums], total[kSums];
  RowState chunk_rows[2], total_rows[2];

  /// The first of the piece's rows that are the warpgroup's, and the first that is the lane's.
  __device__ __forceinline__ int warpgroup_row() const {
    return S::kSplitsDims ? 0 : warpgroup * kWarpgroupRows;
  }
  __device__ __forceinline__ int lane_row() const {
    return warpgroup_row() + threadIdx.x % kWarpgroupThreads / 32 * 16 + threadIdx.x % 32 / 4;
  }
  __device__ __forceinline__ int lane_column() const { return threadIdx.x % 4 * 2; }
  __device__ __forceinline__ int first_dim() const {
    return S::kSplitsDims ? warpgroup * S::kOutDims : 0;
  }
  __device__ __forceinline__ uint32_t queries() const {
    return shared.queries + warpgroup_row() / 8 * S::kOctet;
  }

  __device__ __forceinline__ void sync_warpgroup() const {
    named_barrier_sync(1 + warpgroup, kWarpgroupThreads);
  }
  /// Of those that share queries.
  __device__ __forceinline__ void sync_queries() const {
    named_barrier_sync(S::kSplitsDims ? 1 + 2 * kConsumers : 1 + warpgroup, S::kQueryThreads);
  }
  __device__ __forceinline__ void begin_turn() const {
    named_barrier_sync(1 + kConsumers + warpgroup, kConsumers * kWarpgroupThreads);
  }
  __device__ __forceinline__ void end_turn() const {
    named_barrier_arrive(1 + kConsumers + (1 - warpgroup), kConsumers * kWarpgroupThreads);
  }
  __device__ __forceinline__ void release(int slot) const {
    barrier_arrive_warp(shared.empty(slot));
  }

  /// Enqueues q K of the ring's next tile.
  __device__ __forceinline__ void enqueue_scores() {
    barrier_wait(shared.full(ring.slot), ring.parity);
    const uint64_t q = opaque(matrix_descriptor(queries(), kCoreMatrixBytes, S::kOctet));
    const uint64_t k = matrix_descriptor(shared.slot(ring.slot), kCoreMatrixBytes, S::kOctet);
    wgmma_fence();
#pragma unroll
    for (int step = 0; step < head_dim / 16; ++step) {
      constexpr int kStep = 2 * kCoreMatrixBytes / 16;
      wgmma<kTileTokens, Half>(reinterpret_cast<Scores&>(s), q + step * kStep, k + step * kStep,
                               step > 0);
    }
    wgmma_commit();
  }

  __device__ __forceinline__ void finish_scores() {
    wgmma_wait<0>();
    pin_registers(reinterpret_cast<Scores&>(s));
    release(ring.slot);
    ring.advance();
  }

  /// Makes sure that the ring's next tile, of V, is there, with zeros outside `visible`.
  __device__ __forceinline__ void prepare_values(TokenRange visible) {
    barrier_wait(shared.full(ring.slot), ring.parity);
    if (visible.begin > 0 || visible.end < kTileTokens) {
      zero_outside<head_dim>(shared.slot(ring.slot), visible);
      fence_async_proxy();
      sync_warpgroup();
    }
  }

  /// Enqueues p V of the ring's next tile. Returns its slot.
  __device__ __forceinline__ int enqueue_values() {
    const int slot = ring.slot;
    const uint64_t v = matrix_descriptor(shared.slot(slot) + first_dim() / 8 * kCoreMatrixBytes,
                                         S::kOctet, kCoreMatrixBytes);
    pin_registers(chunk);
    wgmma_fence();
#pragma unroll
    for (int step = 0; step < kTileTokens / 16; ++step) {
      wgmma<S::kOutDims, Half, true>(chunk, p[step], v + step * (2 * S::kOctet / 16), true);
    }
    wgmma_commit();
    ring.advance();
    return slot;
  }

  /// Scores of a tile to weights; rescales what the chunk has so far.
  __device__ __forceinline__ void weigh(const Piece& piece, int32_t first_token) {
    scale_scores(s, score_factor(args.spec));
    const int32_t window = args.spec.window, position = piece.first_position + warpgroup_row();
    if (first_token + kTileTokens - 1 > position ||
        (window > 0 && first_token <= position + kWarpgroupRows - 1 - window)) {
      const int32_t row = piece.first_position + opaque(lane_row());
      const TokenRange visible[2] = {visible_tokens(row, window), visible_tokens(row + 8, window)};
      mask_scores(s, first_token + lane_column(), visible);
    }
    float factor[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) factor[half] = weigh_row(s, half, chunk_rows[half]);
#pragma unroll
    for (int step = 0; step < kTileTokens / 16; ++step) weights_operand<Half>(s, step, p[step]);
#pragma unroll
    for (int i = 0; i < kSums; ++i) chunk[i] *= factor[i / 2 % 2];
  }

  /// Adds the chunk to the total, and begins the next one. Without MergeFactors::merge(), whose
  /// branches take registers that we do not have: factors of 0 and 1 do the same.
  __device__ __forceinline__ void merge() {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      chunk_rows[half].l = add_quad(chunk_rows[half].l);
      const MergeFactors factors = merge_chunk(total_rows[half], chunk_rows[half]);
      const bool takes_chunk = factors.takes_chunk && !factors.keeps_total;
      const float old = takes_chunk ? 0 : factors.total, added = takes_chunk ? 1 : factors.chunk;
      chunk_rows[half] = {};
#pragma unroll
      for (int i = 0; i < kSums; ++i) {
        if (i / 2 % 2 == half) total[i] = fmaf(chunk[i], added, total[i] * old);
      }
    }
#pragma unroll
    for (int i = 0; i < kSums; ++i) chunk[i] = 0;
  }

  __device__ __forceinline__ void store(const Piece& piece) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = lane_row() + half * 8;
      if (row >= piece.num_tokens) continue;
      const int32_t token = piece.first_token + row;
      const float factor = 1 / total_rows[half].l;
      const auto store_row = [&] {
#pragma unroll
        for (int i = half * 2; i < kSums; i += 4) {
          store_pair<Half>(args, token, piece.head, first_dim() + i / 4 * 8 + lane_column(),
                           total[i] * factor, total[i + 1] * factor);
        }
      };
      if (args.out_is_operand) {  // else the compiler asks for each pair
        store_row();
      } else {
        store_row();
      }
      if (piece.head == 0 && first_dim() == 0) {
        store_padding<Half>(args, token, opaque(int(threadIdx.x)) % 4, 4);
      }
    }
  }

  __device__ __forceinline__ void run(const Piece& piece) {
    sync_queries();  // else a warp might still multiply the last piece's
    load_queries<Half, head_dim>(args, piece, warpgroup_row(), queries());
    fence_async_proxy();
    sync_queries();
#pragma unroll
    for (int i = 0; i < kSums; ++i) chunk[i] = total[i] = 0;
#pragma unroll
    for (int half = 0; half < 2; ++half) chunk_rows[half] = total_rows[half] = {};

    begin_turn();
    enqueue_scores();
    end_turn();
    finish_scores();
    const int32_t last_tile = piece.end_tile() - 1;
    int32_t tile = piece.first_tile();
    weigh(piece, tile * kTileTokens);
    const auto visible = [&] {
      return TokenRange{piece.visible.begin - tile * kTileTokens,
                        piece.visible.end - tile * kTileTokens};
    };
    for (; tile < last_tile; ++tile) {
      prepare_values(visible());
      begin_turn();
      const int slot = enqueue_values();
      enqueue_scores();
      end_turn();
      wgmma_wait<1>();
      pin_registers(chunk);
      release(slot);
      if ((tile + 1) % (kChunkTokens / kTileTokens) == 0) merge();
      finish_scores();
      weigh(piece, (tile + 1) * kTileTokens);
    }
    prepare_values(visible());
    begin_turn();
    const int slot = enqueue_values();
    end_turn();
    wgmma_wait<0>();
    pin_registers(chunk);
    release(slot);
    merge();
    store(piece);
  }
};

#endif

template <class Half, int head_dim>
__global__ void __launch_bounds__(kThreads, 1)
    attention_prefill_sm90_kernel(const __grid_constant__ AttentionArgs args) {
#if HEARTH_HOPPER
  using S = Shape<head_dim>;
  extern __shared__ __align__(128) std::byte memory[];
  const Shared<head_dim> shared{shared_address(memory)};
  if (threadIdx.x == 0) {
    for (int slot = 0; slot < S::kSlots; ++slot) {
      barrier_init(shared.full(slot), 1);
      barrier_init(shared.empty(slot), kConsumers * kWarpgroupThreads / 32 * kWarpArrivals);
    }
    fence_barrier_init();
  }
  __syncthreads();
  wait_for_previous();
  let_next_begin();

  const int warpgroup = uniform(threadIdx.x / kWarpgroupThreads);
  if (warpgroup == kConsumers) {
    shrink_registers<kProducerRegisters>();
    if (threadIdx.x >= kThreads - 32) {
      RingPosition<S::kSlots> ring;
      for_each_piece<head_dim>(
          args, [&](const Piece& piece) { load_tiles<head_dim>(args, shared, piece, ring); });
    }
  } else {
    grow_registers<kConsumerRegisters>();
    Consumer<Half, head_dim> consumer{args, shared, warpgroup};
    if (warpgroup == 1) consumer.end_turn();  // the first is the other's
    for_each_piece<head_dim>(args, [&](const Piece& piece) { consumer.run(piece); });
  }
#endif
}

// -------------------------------------------------------------------------------------- launch

template <class Half, int head_dim>
void launch_kernel(Stream& stream, const AttentionArgs& args) {
  using S = Shape<head_dim>;
  const auto kernel = attention_prefill_sm90_kernel<Half, head_dim>;
  allow_shared_memory(kernel, S::kAll);
  const int32_t pieces = args.step.num_prefills * args.spec.num_heads * S::kParts;
  launch(stream, kernel, dim3(std::min(pieces, stream.num_multiprocessors)), dim3(kThreads),
         S::kAll, args);
}

}  // namespace

void attention_prefill_sm90(Stream& stream, const AttentionArgs& args) {
  const int32_t block_tokens = args.kv.spec.block_tokens;
  if (block_tokens % 8 != 0 || kTileTokens % block_tokens != 0) {
    throw Error(HEARTH_UNSUPPORTED,
                format("Cannot run attention: KV must lie in blocks of 8 to %d tokens: current "
                       "blocks have %d",
                       kTileTokens, block_tokens));
  }
  if (args.step.num_prefills == 0) return;
  with_head(args.kv.spec,
            [&]<class Half, int head_dim>() { launch_kernel<Half, head_dim>(stream, args); });
}

}  // namespace hearth::cuda

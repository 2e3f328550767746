// Attention of sequences with one query: what its kernels have in common, that is the work and its
// end. What is between streams K and V: attention_decode_sm90.cu (bulk copies), _sm80.cu
// (cp.async).
//
// DESIGN
//   Work    A piece: one chunk of one context (a DecodeItem), one KV head, up to 16 of its query
//           heads. Query heads are the rows of the tensor core's tile. CTAs stay for the whole
//           launch, each with a range of pieces, so that a recorded launch fits any number.
//   Order   The chunks of a context and head follow one another: a CTA that has the first of them
//           merges on in shared memory, and writes the result where it has the last one, too.
//   Ends    What a CTA has of a context that begins or ends with another CTA goes to memory: the
//           first chunks merged, others one by one. In the end, once, it says so; who says so last
//           merges all, in order. A round trip behind a full queue takes 4 to 8 us: one for each
//           piece cost a quarter of the memory's rate.
//   Warps   Four of a CTA multiply. In the end each has all rows of a piece, of its own dimensions:
//           warp w those from 16 w, 16 (w + 4), ... on.
#pragma once

#include <algorithm>

#include "attention_tiles.cuh"
#include "variants.cuh"
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

  __device__ __forceinline__ bool is_first_chunk() const { return chunk == first_chunk; }
  __device__ __forceinline__ bool is_last_chunk() const {
    return chunk == first_chunk + num_chunks - 1;
  }
  /// Who has it stores the padding of the token's results.
  __device__ __forceinline__ bool stores_padding() const {
    return is_first_chunk() && first_head == 0;
  }
  /// For lane i the id of the chunk's block i. first_block: PieceRange's.
  __device__ __forceinline__ int32_t block_ids(const AttentionArgs& args,
                                               int32_t first_block) const {
    return load_block_ids(args, first_block, chunk, chunk * kChunkTokens + visible.end);
  }
  /// Its visible parts of the chunk, cut into so many tokens each.
  __device__ __forceinline__ int32_t first_part(int32_t tokens) const {
    return visible.begin / tokens;
  }
  __device__ __forceinline__ int32_t end_part(int32_t tokens) const {
    return (visible.end + tokens - 1) / tokens;
  }
};

/// A CTA's pieces, some of which may have nothing to see.
class PieceRange {
 public:
  __device__ __forceinline__ explicit PieceRange(const AttentionArgs& args)
      : group_(group_size(args)), passes_(passes_of(group_)),
        per_item_(args.kv.spec.num_kv_heads * passes_) {
    constexpr int kFew = 3;  // a CTA: then whole contexts count less than an even share
    const int32_t pieces = *args.step.num_decodes * per_item_, ctas = gridDim.x, cta = blockIdx.x;
    if (pieces < kFew * ctas) {
      next_ = int64_t(pieces) * cta / ctas;
      end_ = int64_t(pieces) * (cta + 1) / ctas;
    } else {
      const int32_t share = (pieces + ctas - 1) / ctas;
      next_ = min(cta * share, pieces);
      end_ = min(next_ + share, pieces);
    }
  }

  /// Of the context of the piece that was found last: not in Piece, since those who multiply hold a
  /// piece in registers and do not need it.
  __device__ __forceinline__ int32_t first_block() const { return first_block_; }

  /// The next piece that has something to see.
  __device__ __forceinline__ bool find(const AttentionArgs& args, Piece& piece) {
    while (next_ < end_) {
      const int32_t index = next_++;
      // One of the sequence's items, whichever it is: they lie side by side.
      const DecodeItem item = args.step.decodes[index / per_item_];
      const int32_t first_item = index / per_item_ - item.chunk;
      const int32_t context_len = item.context_len;
      const int32_t chunks = (context_len + kChunkTokens - 1) / kChunkTokens;
      const int32_t within = index - first_item * per_item_, part = within / chunks;
      const int32_t chunk = within - part * chunks, chunk_begin = chunk * kChunkTokens;
      const TokenRange visible = visible_tokens(context_len - 1, args.spec.window);
      piece.visible = {max(visible.begin - chunk_begin, 0),
                       min(visible.end - chunk_begin, kChunkTokens)};
      if (piece.visible.begin >= piece.visible.end) continue;
      piece.item = first_item + chunk;
      piece.sequence = item.sequence;
      piece.chunk = chunk;
      first_block_ = item.first_block;
      piece.token = args.step.query_start[item.sequence];
      piece.first_chunk = visible.begin / kChunkTokens;
      piece.num_chunks = (visible.end - 1) / kChunkTokens - piece.first_chunk + 1;
      piece.kv_head = part / passes_;
      const int32_t first_row = part % passes_ * kDecodeRows;
      piece.first_head = piece.kv_head * group_ + first_row;
      piece.num_rows = min(kDecodeRows, group_ - first_row);
      return true;
    }
    return false;
  }

 private:
  int32_t group_, passes_, per_item_;
  int32_t next_, end_;
  int32_t first_block_ = 0;
};

// ---------------------------------------------------------------------------------------- end

/// Behind a partial's O.
struct alignas(16) PartialState {
  float m, l;
  int32_t num_chunks;  // that it covers, its own the first
  int32_t padding;
};

__device__ __forceinline__ float* partial_of(const AttentionArgs& args, int32_t item,
                                             int32_t head) {
  return args.partials +
         (size_t(item) * args.spec.num_heads + head) * partial_floats(args.kv.spec.head_dim);
}

/// Says that so many chunks of the piece's context and heads are stored, behind all that this
/// thread knows to be written and before what it reads next: whether they were the last. By one
/// thread.
__device__ __forceinline__ bool arrive_last(const AttentionArgs& args, const Piece& piece,
                                            int32_t count) {
  int32_t* const arrivals =
      args.arrivals + size_t(piece.sequence) * args.spec.num_heads + piece.first_head;
  int32_t before;
  asm volatile("atom.acq_rel.gpu.global.add.s32 %0, [%1], %2;"
               : "=r"(before)
               : "l"(arrivals), "r"(count)
               : "memory");
  const bool is_last = before + count == piece.num_chunks;
  if (is_last) *arrivals = 0;
  return is_last;
}

/// Merges the partials of the piece's context and heads, in the order of chunks. By all threads.
template <class Half, int kHeadDim>
__device__ __forceinline__ void merge_partials(const AttentionArgs& args, const Piece& piece) {
  constexpr int kBatch = 4;             // of loads on their way
  constexpr int kQuads = kHeadDim / 4;  // of dimensions
  const int32_t first_item = piece.item - piece.chunk + piece.first_chunk;
  const size_t stride = size_t(args.spec.num_heads) * partial_floats(kHeadDim);
  for (int32_t i = threadIdx.x; i < piece.num_rows * kQuads; i += kDecodeThreads) {
    const int32_t head = piece.first_head + i / kQuads, dim = i % kQuads * 4;
    const float* const partial = partial_of(args, first_item, head);
    RowState total;
    float o[4] = {};
    int32_t num_merged = 0;
    for (int32_t base = 0; base < piece.num_chunks; base += kBatch) {
      float4 states[kBatch], values[kBatch];
#pragma unroll
      for (int j = 0; j < kBatch; ++j) {
        const float* const from = partial + min(base + j, piece.num_chunks - 1) * stride;
        states[j] = __ldcg(reinterpret_cast<const float4*>(from + kHeadDim));
        values[j] = __ldcg(reinterpret_cast<const float4*>(from + dim));
      }
#pragma unroll
      for (int j = 0; j < kBatch; ++j) {
        if (base + j != num_merged || num_merged >= piece.num_chunks) continue;
        num_merged += __float_as_int(states[j].z);
        const MergeFactors factors = merge_chunk(total, {states[j].x, states[j].y});
        o[0] = factors.merge(o[0], values[j].x), o[1] = factors.merge(o[1], values[j].y);
        o[2] = factors.merge(o[2], values[j].z), o[3] = factors.merge(o[3], values[j].w);
      }
    }
    const float factor = 1 / total.l;
    store_pair<Half>(args, piece.token, head, dim, o[0] * factor, o[1] * factor);
    store_pair<Half>(args, piece.token, head, dim + 2, o[2] * factor, o[3] * factor);
  }
}

/// What becomes of a CTA's pieces, one after the other. By the warps that multiply.
template <class Half, int kHeadDim>
class Results {
 public:
  using Values = float[kDecodePairs<kHeadDim>][2][4];
  /// Of shared memory, for pieces of up to kRows rows; others are stored one by one.
  static constexpr int kRows = 8;
  static constexpr int kBytes = (kDecodePairs<kHeadDim> * 4 + 2) * kDecodeThreads * sizeof(float);

  __device__ __forceinline__ explicit Results(void* shared)
      : total_(static_cast<float*>(shared) + threadIdx.x) {}

  /// Adds a piece, l still by lanes. Changes o.
  __device__ __forceinline__ void add(const AttentionArgs& args, const Piece& piece,
                                      const RowState (&rows)[2], Values& o) {
    RowState states[2] = {{rows[0].m, add_quad(rows[0].l)}, {rows[1].m, add_quad(rows[1].l)}};
    const bool is_merged = piece.num_rows <= kRows && (num_merged_ > 0 || piece.is_first_chunk());
    if (piece.num_chunks == 1 || (is_merged && merge(piece, states[0], o))) {
      store(args, piece, states, o);
    } else if (!is_merged) {
      store_partial(args, piece, piece.item, states, o, 1);
      if (threadIdx.x == 0) ends().piece[0] = piece;
      ++num_single_;
      is_due_ = piece.num_rows > kRows && piece.is_last_chunk();
    }
  }

  /// Whether finish() must come before the next piece.
  __device__ __forceinline__ bool is_due() const { return is_due_; }

  /// Behind the last piece, or where it is due.
  __device__ __forceinline__ void finish(const AttentionArgs& args) {
    if (num_merged_ + num_single_ == 0) return;
    meet();  // ends() are there
    if (num_merged_ > 0) {
      const RowState states[2] = {state(), {}};
      Values o = {};
      for_each_value(
          [&](int pair, int octet, int value, float* total) { o[pair][octet][value] = *total; });
      const Piece& piece = ends().piece[1];
      store_partial(args, piece, piece.item, states, o, num_merged_);
    }
    meet();
    if (threadIdx.x % 32 == 0 && threadIdx.x < 64) {  // both at a time
      const int end = threadIdx.x / 32;
      const int32_t count = end == 0 ? num_single_ : num_merged_;
      ends().is_last[end] = count > 0 && arrive_last(args, ends().piece[end], count);
    }
    meet();
    for (int end = 0; end < 2; ++end) {
      if (ends().is_last[end]) merge_partials<Half, kHeadDim>(args, ends().piece[end]);
    }
    num_single_ = num_merged_ = 0;
    is_due_ = false;
  }

 private:
  /// Of the range: a piece of the context that began before it, and the first one of the context
  /// that goes on behind it.
  struct Ends {
    Piece piece[2];
    bool is_last[2];
  };
  static __device__ __forceinline__ Ends& ends() {
    __shared__ Ends ends;
    return ends;
  }

  /// The total of row g.
  __device__ __forceinline__ RowState state() const { return {total_[0], total_[kDecodeThreads]}; }
  template <class Visit>
  __device__ __forceinline__ void for_each_value(const Visit& visit) const {
#pragma unroll
    for (int i = 0; i < kDecodePairs<kHeadDim> * 4; ++i) {
      visit(i / 4, i / 2 % 2, i % 2, total_ + (i + 2) * kDecodeThreads);
    }
  }

  /// Merges a chunk into the total. Returns whether it was the context's last: then the total is
  /// in `chunk` and `o`, and forgotten here.
  __device__ __forceinline__ bool merge(const Piece& piece, RowState& chunk, Values& o) {
    if (num_merged_ == 0) {
      if (threadIdx.x == 0) ends().piece[1] = piece;
    } else {
      RowState total = state();
      const MergeFactors factors = merge_chunk(total, chunk);
      for_each_value([&](int pair, int octet, int value, float* from) {
        o[pair][octet][value] = factors.merge(*from, o[pair][octet][value]);
      });
      chunk = total;
    }
    if (++num_merged_ == piece.num_chunks) {
      num_merged_ = 0;
      return true;
    }
    total_[0] = chunk.m, total_[kDecodeThreads] = chunk.l;
    for_each_value([&](int pair, int octet, int value, float* to) { *to = o[pair][octet][value]; });
    return false;
  }

  /// Calls visit(half, head, dim, low, high) for what this thread has of a piece's rows.
  template <class Visit>
  static __device__ __forceinline__ void for_each_pair(const Piece& piece, const Values& o,
                                                       const Visit& visit) {
    const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int32_t row = g + half * 8;
      if (row >= piece.num_rows) continue;
#pragma unroll
      for (int i = 0; i < kDecodePairs<kHeadDim> * 2; ++i) {
        const int32_t dim = (warp + i / 2 * kDecodeWarps) * 16 + i % 2 * 8 + 2 * t;
        if (dim >= kHeadDim) break;
        visit(half, piece.first_head + row, dim, o[i / 2][i % 2][half * 2],
              o[i / 2][i % 2][half * 2 + 1]);
      }
    }
  }

  static __device__ __forceinline__ void store(const AttentionArgs& args, const Piece& piece,
                                               const RowState (&states)[2], const Values& o) {
    const float scales[2] = {1 / states[0].l, 1 / states[1].l};
    for_each_pair(piece, o, [&](int half, int32_t head, int32_t dim, float low, float high) {
      store_pair<Half>(args, piece.token, head, dim, low * scales[half], high * scales[half]);
    });
  }

  static __device__ __forceinline__ void store_partial(const AttentionArgs& args,
                                                       const Piece& piece, int32_t item,
                                                       const RowState (&states)[2], const Values& o,
                                                       int32_t num_chunks) {
    for_each_pair(piece, o, [&](int half, int32_t head, int32_t dim, float low, float high) {
      float* const partial = partial_of(args, item, head);
      *reinterpret_cast<float2*>(partial + dim) = make_float2(low, high);
      if (dim == 0) {  // a thread of each row
        *reinterpret_cast<PartialState*>(partial + kHeadDim) = {states[half].m, states[half].l,
                                                                num_chunks, 0};
      }
    });
  }

  float* total_;            // this thread's, kDecodeThreads apart
  int32_t num_merged_ = 0;  // chunks in the total, from the context's first visible one on
  int32_t num_single_ = 0;  // chunks stored one by one
  bool is_due_ = false;
};

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

}  // namespace hearth::cuda

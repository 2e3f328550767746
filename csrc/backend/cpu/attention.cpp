#include "attention.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "kv_cells.h"
#include "vector_kernels.h"

namespace hearth {
namespace {

// Rows of an item at most: their states stay in L2 beside the chunk.
constexpr int32_t kMaxItemRows = 96;
// Parts of cut contexts that each thread should get, so that they end at about the same time.
constexpr int64_t kPartsPerThread = 4;
// Tokens of an item whose context may be cut. More would need more memory for partials than they
// gain.
constexpr int32_t kMaxCutTokens = 4;

constexpr float kLog2E = 1.44269504088896341f;

/// What a sequence's tokens see of its context.
struct Sequence {
  int32_t first_token, num_tokens;
  int32_t first_position;
  int32_t window;

  Sequence(const StepInput& input, int32_t sequence, int32_t window)
      : first_token(input.query_start[sequence]),
        num_tokens(input.query_start[sequence + 1] - first_token),
        first_position(input.context_len[sequence] - num_tokens), window(window) {}

  int32_t end(int32_t token) const { return first_position + token - first_token + 1; }
  int32_t begin(int32_t token) const { return window > 0 ? std::max(0, end(token) - window) : 0; }
  int64_t cost(int32_t token) const { return end(token) - begin(token); }
};

}  // namespace

const Attention::Plan& Attention::plan(const StepInput& input, const KvSpec& kv,
                                       const AttentionSpec& spec, int num_threads,
                                       int32_t rows_together) {
  for (const Plan& plan : plans_) {
    if (plan.window == spec.window && plan.num_heads == spec.num_heads) return plan;
  }
  Plan& plan = plans_.emplace_back();
  plan.window = spec.window;
  plan.num_heads = spec.num_heads;

  const int32_t group = spec.num_heads / kv.num_kv_heads;
  const int32_t max_tokens = std::max(1, kMaxItemRows / group);
  const int32_t tile_tokens = rows_together / std::gcd(rows_together, group);
  int64_t cost_left = 0;
  for (int32_t s = 0; s < input.num_sequences(); ++s) {
    const Sequence sequence(input, s, spec.window);
    for (int32_t i = 0; i < sequence.num_tokens; ++i) {
      cost_left += sequence.cost(sequence.first_token + i) * kv.num_kv_heads;
    }
  }
  const int64_t part_cost =
      std::max<int64_t>(cost_left / (num_threads * kPartsPerThread), kChunkTokens);

  for (int32_t s = 0; s < input.num_sequences(); ++s) {
    const Sequence sequence(input, s, spec.window);
    const int32_t last_token = sequence.first_token + sequence.num_tokens;
    for (int32_t head = 0; head < kv.num_kv_heads; ++head) {
      for (int32_t first = sequence.first_token, next; first < last_token; first = next) {
        const int64_t most = cost_left / num_threads;
        int64_t cost = sequence.cost(first);
        for (next = first + 1; next < last_token && next - first < max_tokens; ++next) {
          if (cost + sequence.cost(next) > most && next - first >= kMaxCutTokens) break;
          cost += sequence.cost(next);
        }
        if (next < last_token && next - first > tile_tokens) {  // no tile with rows to spare
          for (; (next - first) % tile_tokens != 0; --next) cost -= sequence.cost(next - 1);
        }
        cost_left -= cost;
        const int32_t first_chunk = sequence.begin(first) / kChunkTokens;
        const int32_t last_chunk = (sequence.end(next - 1) - 1) / kChunkTokens + 1;
        const int32_t num_chunks = last_chunk - first_chunk;
        int32_t num_parts = 1;
        if (num_threads > 1 && next - first <= kMaxCutTokens) {
          num_parts =
              int32_t(std::clamp<int64_t>((cost + part_cost / 2) / part_cost, 1, num_chunks));
        }
        int32_t cut = -1;
        if (num_parts > 1) {
          cut = int32_t(plan.cuts.size());
          plan.cuts.push_back({first, next - first, head, first_chunk, last_chunk, num_parts,
                               plan.partials_floats});
          plan.partials_floats +=
              size_t(num_chunks) * (next - first) * group * partial_floats(kv.head_dim);
        }
        for (int32_t i = 0; i < num_parts; ++i) {
          plan.items.push_back(
              {s, head, first, next - first, first_chunk + num_chunks * i / num_parts,
               first_chunk + num_chunks * (i + 1) / num_parts, cut, cost / num_parts});
        }
      }
    }
  }
  std::stable_sort(plan.items.begin(), plan.items.end(),
                   [](const Item& a, const Item& b) { return a.cost > b.cost; });
  return plan;
}

/// One call, as its threads see it.
struct Attention::Run {
  const StepInput& input;
  const KvCache& kv;
  const AttentionSpec& spec;
  const VectorKernels& kernels;
  const float* q;
  float* out;
  int32_t head_dim = kv.spec.head_dim;
  int32_t group = spec.num_heads / kv.spec.num_kv_heads;
  float scale = spec.scale * kLog2E;

  size_t row_offset(const Item& item, int32_t row) const {
    const size_t token = item.first_token + row / group;
    return (token * spec.num_heads + item.kv_head * group + row % group) * head_dim;
  }

  /// Fills in where the K and V of blocks [first, last) of a chunk lie, up to context position
  /// `end`; null behind it.
  void locate(const Item& item, int32_t chunk_index, int32_t end, int32_t first, int32_t last,
              const void** k, const void** v) const {
    const KvSpec& layout = kv.spec;
    const size_t bytes = kv_element_bytes(layout);
    const int32_t* table = &input.block_table[size_t(item.sequence) * input.max_blocks];
    for (int32_t i = first; i < last; ++i) {
      const int32_t position = chunk_index * kChunkTokens + i * 16;
      k[i] = v[i] = nullptr;
      if (position >= end) continue;
      const int32_t block = table[position / layout.block_tokens];
      const size_t offset = position % layout.block_tokens;
      k[i] = kv_cell(kv, block, spec.layer, KvPart::kKey, item.kv_head) + offset * bytes;
      v[i] =
          kv_cell(kv, block, spec.layer, KvPart::kValue, item.kv_head) + offset * head_dim * bytes;
    }
  }

  /// Attends the item's rows to one chunk, and hands each row's partial to done(row, partial).
  /// slot(row): where the partial goes.
  template <class Slot, class Done>
  void attend(const Item& item, int32_t chunk_index, Slot slot, Done done) const {
    const Sequence sequence(input, item.sequence, spec.window);
    const int32_t first = chunk_index * kChunkTokens;
    const int32_t num_rows = item.num_tokens * group;
    const int32_t end = sequence.end(item.first_token + item.num_tokens - 1);
    const bool is_last = chunk_index + 1 == item.last_chunk;
    AttentionChunk chunk;
    chunk.k_stride = kv.spec.block_tokens;
    chunk.head_dim = head_dim;
    chunk.is_half = kv.spec.dtype != DType::kF32;
    chunk.scale = scale;
    locate(item, chunk_index, end, 0, kChunkBlocks, chunk.k, chunk.v);
    std::fill_n(chunk.next_k, kChunkBlocks, nullptr);
    std::fill_n(chunk.next_v, kChunkBlocks, nullptr);
    for (int32_t row = 0, block = 0; row < num_rows; row += chunk.num_rows) {
      chunk.num_rows = std::min(num_rows - row, kernels.attention_rows);
      if (!is_last) {  // each tile of rows brings some blocks of the next chunk
        std::fill_n(chunk.next_k, block, nullptr);
        std::fill_n(chunk.next_v, block, nullptr);
        const int32_t last = kChunkBlocks * (row + chunk.num_rows) / num_rows;
        locate(item, chunk_index + 1, end, block, last, chunk.next_k, chunk.next_v);
        block = last;
      }
      for (int32_t i = 0; i < chunk.num_rows; ++i) {
        const int32_t token = item.first_token + (row + i) / group;
        chunk.begin[i] = std::max(sequence.begin(token) - first, 0);
        chunk.end[i] = std::min(sequence.end(token) - first, kChunkTokens);
        chunk.q[i] = q + row_offset(item, row + i);
        chunk.partial[i] = slot(row + i);
      }
      kernels.attend(chunk);
      for (int32_t i = 0; i < chunk.num_rows; ++i) done(row + i, chunk.partial[i]);
    }
  }

  static void clear(float* state, int32_t head_dim) {
    std::fill_n(state, partial_floats(head_dim), 0.f);
    state[padded_dim(head_dim)] = -std::numeric_limits<float>::infinity();
  }

  /// An item that has its whole context: states holds num_rows states and then room for partials.
  void whole(const Item& item, float* states) const {
    const int32_t size = partial_floats(head_dim), num_rows = item.num_tokens * group;
    float* scratch = states + size_t(num_rows) * size;
    for (int32_t row = 0; row < num_rows; ++row) clear(states + size_t(row) * size, head_dim);
    for (int32_t chunk = item.first_chunk; chunk < item.last_chunk; ++chunk) {
      attend(
          item, chunk,
          [&](int32_t row) { return scratch + size_t(row % kernels.attention_rows) * size; },
          [&](int32_t row, const float* partial) {
            kernels.merge(states + size_t(row) * size, partial, head_dim, scale);
          });
    }
    for (int32_t row = 0; row < num_rows; ++row) {
      kernels.finish(states + size_t(row) * size, head_dim, out + row_offset(item, row));
    }
  }

  /// An item of a cut context leaves its partials behind.
  void part(const Item& item, const Cut& cut, float* partials) const {
    const int32_t size = partial_floats(head_dim), num_rows = item.num_tokens * group;
    for (int32_t chunk = item.first_chunk; chunk < item.last_chunk; ++chunk) {
      float* first = partials + size_t(chunk - cut.first_chunk) * num_rows * size;
      attend(
          item, chunk, [&](int32_t row) { return first + size_t(row) * size; },
          [](int32_t, const float*) {});
    }
  }

  /// What whole() does with the partials of a context, once all are there.
  void merge_parts(const Item& item, const Cut& cut, const float* partials, float* state) const {
    const int32_t size = partial_floats(head_dim), num_rows = item.num_tokens * group;
    for (int32_t row = 0; row < num_rows; ++row) {
      clear(state, head_dim);
      for (int32_t chunk = 0; chunk < cut.last_chunk - cut.first_chunk; ++chunk) {
        kernels.merge(state, partials + (size_t(chunk) * num_rows + row) * size, head_dim, scale);
      }
      kernels.finish(state, head_dim, out + row_offset(item, row));
    }
  }
};

void Attention::run(ThreadPool& pool, const StepInput& input, const KvCache& kv,
                    const AttentionSpec& spec, const float* q, float* out, Isa isa) {
  const VectorKernels& kernels = vector_kernels(isa);
  const Plan& plan = this->plan(input, kv.spec, spec, pool.size(), kernels.attention_rows);
  const Run run{input, kv, spec, kernels, q, out};

  const int32_t max_rows = std::max(kMaxItemRows, run.group) + kMaxAttentionRows;
  const size_t state_floats = size_t(max_rows) * partial_floats(run.head_dim);
  states_.resize(std::max(states_.size(), state_floats * pool.size()));
  partials_.resize(std::max(partials_.size(), plan.partials_floats));
  if (items_left_capacity_ < plan.cuts.size()) {
    items_left_capacity_ = plan.cuts.size();
    items_left_ = std::make_unique<std::atomic<int32_t>[]>(items_left_capacity_);
  }
  for (size_t i = 0; i < plan.cuts.size(); ++i) {
    items_left_[i].store(plan.cuts[i].num_items, std::memory_order_relaxed);
  }

  WorkQueue queue(int32_t(plan.items.size()), 1);
  pool.run([&](int thread) {
    float* states = states_.data() + thread * state_floats;
    for (int32_t begin, end; queue.take(begin, end);) {
      const Item& item = plan.items[begin];
      if (item.cut < 0) {
        run.whole(item, states);
        continue;
      }
      const Cut& cut = plan.cuts[item.cut];
      float* partials = partials_.data() + cut.partials;
      run.part(item, cut, partials);
      // Releases this item's partials, and acquires the others' for the one that comes last.
      if (items_left_[item.cut].fetch_sub(1, std::memory_order_acq_rel) == 1) {
        run.merge_parts(item, cut, partials, states);
      }
    }
  });
}

}  // namespace hearth

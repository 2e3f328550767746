#include "linear.h"

#include <algorithm>

#include "packing.h"

namespace hearth {
namespace {

// Rows up to which each thread prepares the whole input for itself.
constexpr int32_t kOwnRows = 8;
// Sums of one item: what a thread keeps on its stack and in L1.
constexpr int32_t kItemFloats = 2048;
constexpr int32_t kMaxItemTiles = 32;

int32_t divide_up(int32_t a, int32_t b) { return (a + b - 1) / b; }

// Small enough that eight items a thread even out the load, large enough that taking one costs
// nothing.
int32_t choose_item_tiles(int32_t tiles, int32_t rows, int32_t threads) {
  const int32_t tokens = std::min<int32_t>(rows, kTokenBlock);
  const int32_t most = std::min(kMaxItemTiles, kItemFloats / (kTileRows * tokens));
  const int64_t all = int64_t(tiles) * divide_up(rows, kTokenBlock);
  return int32_t(std::clamp<int64_t>(all / (threads * 8), 1, most));
}

TileRun tile_run(const WeightView& weight, const std::byte* tiles, int32_t num_tiles) {
  return {tiles, weight.layout.tile_bytes, num_tiles, weight.layout.cols,
          uint32_t(weight.layout.dtype)};
}

// Calls part(tile, data, num_tiles, second_data) for tiles [begin, end): once, or more often where
// a page ends in between. `second` may be null.
template <class Part>
void for_each_part(const WeightView& first, const WeightView* second, int32_t begin, int32_t end,
                   const Part& part) {
  while (begin < end) {
    TileSpan span = find_tiles(first, begin, end - begin);
    const std::byte* second_data = nullptr;
    if (second != nullptr) {
      const TileSpan other = find_tiles(*second, begin, span.num_tiles);
      span.num_tiles = other.num_tiles;
      second_data = other.data;
    }
    part(begin, span.data, span.num_tiles, second_data);
    begin += span.num_tiles;
  }
}

void add_bias(const float* bias, int32_t count, float* c) {
  if (bias == nullptr) return;
  for (int32_t i = 0; i < count; ++i) c[i] += bias[i];
}

}  // namespace

LinearOps::LinearOps(ThreadPool& pool, const Kernels& kernels, DType activation_dtype)
    : pool_(pool), kernels_(kernels), int8_(activation_dtype == DType::kInt8),
      own_(size_t(pool.size())) {}

void LinearOps::Input::reserve(int32_t max_rows, int32_t max_cols) {
  const size_t size = size_t(max_rows) * max_cols;
  f32.resize(size);
  values.resize(size);
  scales.resize(size / kGroupCols + 1);
  sums.resize(size / kGroupCols + 1);
}

size_t LinearOps::Input::bytes(int32_t max_rows, int32_t max_cols) {
  const size_t size = size_t(max_rows) * max_cols;
  return (size + 2 * (size / kGroupCols + 1)) * sizeof(float) + size;
}

void LinearOps::reserve(int32_t max_rows, int32_t max_cols) {
  shared_.reserve(max_rows, max_cols);
  for (Input& input : own_) input.reserve(kOwnRows, max_cols);
}

size_t LinearOps::scratch_bytes(int32_t max_rows, int32_t max_cols) const {
  return Input::bytes(max_rows, max_cols) + own_.size() * Input::bytes(kOwnRows, max_cols);
}

bool LinearOps::takes_int8(const WeightView& weight) const {
  return int8_ && is_quantized(weight.layout.dtype);
}

void LinearOps::prepare_row(const Source& source, int32_t row, Input& input) const {
  const float* x = source.x + size_t(row) * source.cols;
  if (source.norm.kind != NormKind::kNone) {
    float* out = input.f32.data() + size_t(row) * source.cols;
    kernels_.norm({uint32_t(source.norm.kind), source.norm.weight, source.norm.bias, source.cols,
                   source.norm.eps},
                  x, out);
    x = out;
  }
  if (!source.wants_int8) return;
  const int32_t first = row / kTokenBlock * kTokenBlock;
  const int32_t num_tokens = std::min(kTokenBlock, source.rows - first);
  const size_t at = size_t(first) * (source.cols / kGroupCols) + (row - first);
  kernels_.quantize(x, source.cols, input.values.data() + at * kGroupCols, input.scales.data() + at,
                    input.sums.data() + at, num_tokens);
}

void LinearOps::multiply(const Source& source, const Input& input, int32_t first_token,
                         int32_t num_tokens, const WeightView& weight, const std::byte* tiles,
                         int32_t num_tiles, float* c) const {
  const TileRun run = tile_run(weight, tiles, num_tiles);
  if (takes_int8(weight)) {
    const size_t at = size_t(first_token) * (source.cols / kGroupCols);
    kernels_.linear_int8(run,
                         {input.values.data() + at * kGroupCols, input.scales.data() + at,
                          input.sums.data() + at, num_tokens},
                         c);
  } else {
    const float* x = source.norm.kind == NormKind::kNone ? source.x : input.f32.data();
    kernels_.linear_f32(run, x + size_t(first_token) * source.cols, source.cols, num_tokens, c);
  }
}

// Prepares the input and calls item(index, input) for index in [0, num_items).
template <class Item>
void LinearOps::run_items(const Source& source, int32_t num_items, const Item& item) {
  const bool needs_input = source.wants_int8 || source.norm.kind != NormKind::kNone;
  const bool own = needs_input && source.rows <= kOwnRows;
  if (needs_input && !own) {
    WorkQueue rows(source.rows, 4);
    pool_.run([&](int) {
      for (int32_t row, end; rows.take(row, end);) {
        for (; row < end; ++row) prepare_row(source, row, shared_);
      }
    });
  }
  WorkQueue items(num_items, 1);
  pool_.run([&](int thread) {
    Input& input = own ? own_[thread] : shared_;
    if (own) {
      for (int32_t row = 0; row < source.rows; ++row) prepare_row(source, row, input);
    }
    for (int32_t index, end; items.take(index, end);) item(index, input);
  });
}

void LinearOps::run(const float* x, int32_t rows, const NormView& norm,
                    std::span<const LinearOutput> outputs) {
  if (rows == 0) return;
  Source source{x, rows, outputs[0].linear.weight.layout.cols, norm, false};
  int32_t tiles = 0;
  for (const LinearOutput& output : outputs) {
    source.wants_int8 |= takes_int8(output.linear.weight);
    tiles += output.linear.weight.layout.num_tiles();
  }
  const int32_t item_tiles = choose_item_tiles(tiles, rows, pool_.size());
  int32_t items_per_block = 0;
  for (const LinearOutput& output : outputs) {
    items_per_block += divide_up(output.linear.weight.layout.num_tiles(), item_tiles);
  }

  const auto item = [&](int32_t index, const Input& input) {
    const int32_t first_token = index / items_per_block * kTokenBlock;
    const int32_t num_tokens = std::min(kTokenBlock, rows - first_token);
    index %= items_per_block;
    const LinearOutput* output = outputs.data();
    for (;; ++output) {
      const int32_t items = divide_up(output->linear.weight.layout.num_tiles(), item_tiles);
      if (index < items) break;
      index -= items;
    }
    const WeightView& weight = output->linear.weight;
    const int32_t begin = index * item_tiles;
    const int32_t end = std::min(begin + item_tiles, weight.layout.num_tiles());
    for_each_part(weight, nullptr, begin, end,
                  [&](int32_t tile, const std::byte* data, int32_t count, const std::byte*) {
                    alignas(64) float c[kItemFloats];
                    multiply(source, input, first_token, num_tokens, weight, data, count, c);
                    const int32_t row = tile * kTileRows;
                    const int32_t valid = std::min(count * kTileRows, weight.layout.rows - row);
                    for (int32_t t = 0; t < num_tokens; ++t) {
                      float* sums = c + size_t(t) * count * kTileRows;
                      if (output->linear.bias != nullptr)
                        add_bias(output->linear.bias + row, valid, sums);
                      const size_t at = size_t(first_token + t) * weight.layout.rows + row;
                      if (output->residual != nullptr) add_bias(output->residual + at, valid, sums);
                      std::copy_n(sums, valid, output->out + at);
                    }
                  });
  };
  run_items(source, items_per_block * divide_up(rows, kTokenBlock), item);
}

void LinearOps::run_gated(const float* x, int32_t rows, const NormView& norm,
                          const LinearView& gate, const LinearView& up, Activation activation,
                          float* out) {
  if (rows == 0) return;
  const bool gated = gate.weight.layout.rows != 0;
  // Without a gate, the activation applies to `up` itself.
  const LinearView& first = gated ? gate : up;
  const WeightView* second = gated ? &up.weight : nullptr;
  const bool int8 = takes_int8(first.weight), second_int8 = second ? takes_int8(*second) : int8;
  const Source source{x, rows, up.weight.layout.cols, norm, int8 || second_int8};
  const int32_t out_rows = up.weight.layout.rows;
  const int32_t tiles = up.weight.layout.num_tiles();
  const int32_t item_tiles = choose_item_tiles(tiles, rows, pool_.size());
  const int32_t items_per_block = divide_up(tiles, item_tiles);

  const auto item = [&](int32_t index, const Input& input) {
    const int32_t first_token = index / items_per_block * kTokenBlock;
    const int32_t num_tokens = std::min(kTokenBlock, rows - first_token);
    const int32_t begin = index % items_per_block * item_tiles;
    const int32_t end = std::min(begin + item_tiles, tiles);
    for_each_part(
        first.weight, second, begin, end,
        [&](int32_t tile, const std::byte* data, int32_t count, const std::byte* other) {
          alignas(64) float c[kItemFloats];
          alignas(64) float c_up[kItemFloats];
          multiply(source, input, first_token, num_tokens, first.weight, data, count, c);
          if (gated) {
            multiply(source, input, first_token, num_tokens, up.weight, other, count, c_up);
          }
          const int32_t row = tile * kTileRows;
          const int32_t valid = std::min(count * kTileRows, out_rows - row);
          for (int32_t t = 0; t < num_tokens; ++t) {
            const size_t sums = size_t(t) * count * kTileRows;
            if (first.bias != nullptr) add_bias(first.bias + row, valid, c + sums);
            if (gated && up.bias != nullptr) add_bias(up.bias + row, valid, c_up + sums);
            kernels_.activate(uint32_t(activation), c + sums, gated ? c_up + sums : nullptr, valid);
            std::copy_n(c + sums, valid, out + size_t(first_token + t) * out_rows + row);
          }
        });
  };
  run_items(source, items_per_block * divide_up(rows, kTokenBlock), item);
}

}  // namespace hearth

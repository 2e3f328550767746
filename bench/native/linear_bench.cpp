// Linear ops of SmolLM2-135M alone, against the ceilings of the same run.
//
//   make lib && g++ -std=c++20 -O2 -Icsrc bench/native/linear_bench.cpp
//     build/obj/csrc/backend/cpu/*.o -pthread -o build/linear_bench
//   build/linear_bench [threads] [isa]
//
// Every op rotates over 256 MB of distinct weights, so that no cache holds them. Best of many short
// runs, since other programs share the machine.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "backend/cost.h"
#include "backend/cpu/ceilings.h"
#include "backend/cpu/isa.h"
#include "backend/cpu/linear.h"
#include "backend/cpu/packing.h"

namespace {

using namespace hearth;

constexpr size_t kRotateBytes = 256 << 20;

struct Weights {
  std::byte* memory = nullptr;
  std::vector<LinearView> views;
};

// `count` weights of one shape behind one another, filled with valid random blocks.
Weights make_weights(DType dtype, int32_t rows, int32_t cols, size_t count) {
  const WeightLayout layout = tile_layout(dtype, rows, cols);
  const size_t bytes = layout.tile_bytes * num_tiles(layout);
  const size_t all = (count * bytes + (2 << 20) - 1) >> 21 << 21;
  Weights weights{static_cast<std::byte*>(std::aligned_alloc(2 << 20, all)), {}};
  std::mt19937 random(1);
  std::vector<std::byte> source(row_bytes(dtype, cols) * kTileRows);
  for (std::byte& byte : source) byte = std::byte(random() & 0x3b);  // scales stay finite
  for (size_t i = 0; i < count; ++i) {
    std::byte* data = weights.memory + i * bytes;
    for (int32_t tile = 0; tile < num_tiles(layout); ++tile) {
      pack_tile(layout, source.data(), kTileRows, data + tile * layout.tile_bytes);
    }
    weights.views.push_back({{layout, {{data, 0, num_tiles(layout)}}}, nullptr});
  }
  return weights;
}

template <class Op>
double best_seconds(int repeats, const Op& op) {
  double best = 1e9;
  for (int i = 0; i < repeats; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    op(i);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    best = std::min(best, took.count());
  }
  return best;
}

struct Shape {
  const char* name;
  DType dtype;
  std::vector<int32_t> rows;  // of the weights that share the input
  int32_t cols;
  bool gated;
};

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : usable_cores();
  const Isa isa = choose_isa(argc > 2 ? std::atoi(argv[2]) : HEARTH_ISA_AUTO);
  ThreadPool pool(threads);
  const double read_rate = measure_read_bandwidth(pool, kRotateBytes);
  const double int8_peak = measure_int8_peak(pool, isa);
  std::printf("%s, %d threads: read %.1f GB/s, int8 %.0f Gop/s\n", isa_name(isa), threads,
              read_rate * 1e-9, int8_peak * 1e-9);

  const DType q4 = DType::kQ4_1, q8 = DType::kQ8_0;
  const Shape shapes[] = {
      {"qkv", q4, {576, 192, 192}, 576, false}, {"o", q4, {576}, 576, false},
      {"gate_up", q4, {1536, 1536}, 576, true}, {"down", q4, {576}, 1536, false},
      {"lm_head", q8, {49152}, 576, false},
  };
  LinearOps ops(pool, kernels_of(isa), DType::kInt8);
  ops.reserve(512, 1536);
  std::vector<float> norm_weight(1536, 1.0f), x(512 * 1536), out(512 * 3072), residual(out.size());
  std::vector<float> logits(8 * 49152);
  for (size_t i = 0; i < x.size(); ++i) x[i] = float(int(i * 7919 % 255) - 127) / 64;

  for (const int32_t rows : {1, 2, 4, 8, 512}) {
    double step_seconds = 0, step_bytes = 0, step_ops = 0;
    for (const Shape& shape : shapes) {
      const bool head = shape.rows[0] > 10'000;
      const int32_t op_rows = head ? std::min(rows, 8) : rows;
      Cost cost;
      std::vector<Weights> weights;
      size_t bytes = 0;
      for (const int32_t r : shape.rows) bytes += row_bytes(shape.dtype, shape.cols) * r;
      const size_t count = kRotateBytes / bytes;
      for (const int32_t r : shape.rows) {
        weights.push_back(make_weights(shape.dtype, r, shape.cols, count));
        cost += linear_cost(weights.back().views[0], op_rows);
      }
      const NormView norm{
          shape.cols == 576 && shape.name[0] != 'o' ? NormKind::kRms : NormKind::kNone,
          norm_weight.data(), nullptr, shape.cols, 1e-5f};
      float* to = head ? logits.data() : out.data();
      const int repeats = rows == 512 ? 12 : head ? 20 : int(std::min<size_t>(count, 400));
      const double seconds = best_seconds(repeats, [&](int i) {
        const size_t at = i % count;
        if (shape.gated) {
          ops.run_gated(x.data(), op_rows, norm, weights[0].views[at], weights[1].views[at],
                        Activation::kSilu, to);
          return;
        }
        std::vector<LinearOutput> outputs;
        for (size_t w = 0; w < weights.size(); ++w) {
          outputs.push_back({weights[w].views[at], to + w * 512 * 576});
        }
        ops.run(x.data(), op_rows, norm, outputs);
      });
      for (Weights& weight : weights) std::free(weight.memory);
      std::printf("  rows %3d %-8s %8.1f us  %5.1f GB/s %3.0f %%  %6.1f Gop/s %3.0f %%\n", op_rows,
                  shape.name, seconds * 1e6, cost.bytes / seconds * 1e-9,
                  100 * cost.bytes / seconds / read_rate, cost.flops / seconds * 1e-9,
                  100 * cost.flops / seconds / int8_peak);
      const int layers = head ? 1 : 30;
      step_seconds += layers * seconds;
      step_bytes += layers * double(cost.bytes);
      step_ops += layers * double(cost.flops);
    }
    std::printf(
        "rows %3d: linear ops of a step %.2f ms = %.0f tok/s, %.0f %% of the read ceiling, "
        "%.0f %% of the int8 ceiling\n",
        rows, step_seconds * 1e3, rows / step_seconds, 100 * step_bytes / step_seconds / read_rate,
        100 * step_ops / step_seconds / int8_peak);
  }
  return 0;
}

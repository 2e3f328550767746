// Every linear kernel at small odd shapes, against float64 on the host: rows and columns that no
// tile divides, weights in several segments, poisoned padding and outputs. And one result for a
// token, bit by bit, whatever the kernel and whoever else is in the batch.
#include <cstring>

#include "backend/cuda/dispatch.h"
#include "backend/cuda/linear.h"
#include "backend/cuda/rows.h"
#include "bench.cuh"
#include "exact_halves.h"

namespace hearth::bench {
namespace {

using namespace hearth::cuda;

const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::kF32: return "F32";
    case DType::kF16: return "F16";
    case DType::kBF16: return "BF16";
    case DType::kQ8_0: return "Q8_0";
    case DType::kQ4_0: return "Q4_0";
    case DType::kQ4_1: return "Q4_1";
    case DType::kInt8: break;
  }
  return "?";
}

/// A weight as in a file, its values, and on the device in several segments.
struct Weight {
  DType dtype;
  int32_t rows, cols;
  std::vector<double> values;
  std::vector<DeviceBuffer> pages;
  StripMap map;

  Weight(DType dtype, int32_t rows, int32_t cols, uint32_t seed)
      : dtype(dtype), rows(rows), cols(cols), values(size_t(rows) * cols) {
    const size_t bytes_per_row = row_bytes(dtype, cols);
    std::vector<std::byte> source(rows * bytes_per_row);
    for (int32_t r = 0; r < rows; ++r) fill_row(source.data() + r * bytes_per_row, r, seed);

    WeightView view;
    view.layout = strip_layout(dtype, rows, cols);
    const size_t strip_bytes = view.layout.tile_bytes;
    const int32_t strips = round_up(rows, kStripRows) / kStripRows;
    // 1 strip, then 2 a segment (of many strips more), then what is left.
    const int32_t most = std::max(2, strips / 64);
    for (int32_t first = 0, count = 1; first < strips; first += count, count = most) {
      const int32_t here = std::min(count, strips - first);
      std::vector<std::byte> packed(here * strip_bytes);
      for (int32_t i = 0; i < here; ++i) {
        const int32_t row = (first + i) * kStripRows;
        pack_strip(view.layout, source.data() + row * bytes_per_row,
                   std::min(kStripRows, rows - row), packed.data() + i * strip_bytes);
      }
      pages.emplace_back(packed.size());
      check(cudaMemcpy(pages.back().data(), packed.data(), packed.size(), cudaMemcpyHostToDevice),
            "Cannot copy weights");
      view.segments.push_back({pages.back().data(), first, here});
    }
    map_strips(view, map);
  }

  void fill_row(std::byte* to, int32_t r, uint32_t seed) {
    const auto set = [&](int32_t c, double value) { values[size_t(r) * cols + c] = value; };
    const uint64_t base = uint64_t(r) * cols;
    if (!is_quantized(dtype)) {
      for (int32_t c = 0; c < cols; ++c) {
        const float value = exact_half(seed, base + c) / 8;
        set(c, value);
        if (dtype == DType::kF32) {
          std::memcpy(to + c * 4, &value, 4);
        } else {
          const uint16_t bits = half_bits(dtype, value);
          std::memcpy(to + c * 2, &bits, 2);
        }
      }
      return;
    }
    const size_t group_bytes = row_bytes(dtype, 32);
    for (int32_t c = 0; c < cols; c += 32, to += group_bytes) {
      const float limit = dtype == DType::kQ8_0 ? 128 : 8;
      const uint16_t scale =
          half_bits(DType::kF16, (random_value(seed + 1, base + c) + 1.5f) / (limit * 8));
      const uint16_t minimum =
          half_bits(DType::kF16, -0.15f - random_value(seed + 2, base + c) / 9);
      std::memcpy(to, &scale, 2);
      std::byte* quants = to + 2;
      if (dtype == DType::kQ4_1) {
        std::memcpy(to + 2, &minimum, 2);
        quants = to + 4;
      }
      for (int i = 0; i < 32; ++i) {
        const int quant = int((random_value(seed + 3, base + c + i) + 1) * limit);  // 0 to 2 limit
        double value = half_value(DType::kF16, scale);
        if (dtype == DType::kQ8_0) {
          quants[i] = std::byte(uint8_t(int8_t(quant - 128)));
          value *= quant - 128;
        } else {
          std::byte& byte = quants[i % 16];
          byte = i < 16 ? std::byte(quant) : byte | std::byte(quant << 4);
          value = dtype == DType::kQ4_0 ? value * (quant - 8)
                                        : value * quant + half_value(DType::kF16, minimum);
        }
        set(c + i, value);
      }
    }
  }
};

enum class Kernel { kExact, kStreamSm80, kStreamSm90, kSm80, kSm90 };
constexpr const char* kKernelNames[] = {"exact", "stream_sm80", "stream_sm90", "gemm_sm80",
                                        "gemm_sm90"};

bool is_stream(Kernel kernel) {
  return kernel == Kernel::kStreamSm80 || kernel == Kernel::kStreamSm90;
}

void run(Stream& stream, Kernel kernel, DType dtype, const LinearArgs& args) {
  switch (kernel) {
    case Kernel::kExact: return linear_exact(stream, dtype, args);
    case Kernel::kStreamSm80: return linear_stream_sm80(stream, dtype, args);
    case Kernel::kStreamSm90: return linear_stream_sm90(stream, dtype, args);
    case Kernel::kSm80: return linear_gemm_sm80(stream, dtype, args);
    case Kernel::kSm90: return linear_gemm_sm90(stream, dtype, args);
  }
}

struct Op {
  const char* name;
  std::vector<int32_t> rows;
  int32_t cols;
  bool has_activation, out_is_operand, bias, residual;
};

double activated(double x, bool is_gated) {
  return is_gated ? x / (1 + std::exp(-x)) : std::max(x, 0.0);
}

/// All kernels on one op and dtype.
void check_op(Stream& stream, const Options& options, DType dtype, const Op& op,
              const std::vector<int>& batches, uint32_t seed) {
  const int most = batches.back();
  const DType half = dtype == DType::kBF16 ? DType::kBF16 : DType::kF16;
  std::vector<Weight> weights;
  for (size_t i = 0; i < op.rows.size(); ++i) {
    weights.emplace_back(dtype, op.rows[i], op.cols, uint32_t(seed + 10 * i));
  }
  std::vector<float> x(size_t(most) * op.cols);
  for (size_t i = 0; i < x.size(); ++i) x[i] = exact_half(seed + 5, i);
  const size_t num_outputs = op.has_activation ? 1 : op.rows.size();

  // The reference, for the largest batch.
  std::vector<std::vector<double>> expected(num_outputs);
  std::vector<std::vector<float>> biases, residuals(num_outputs);
  for (size_t i = 0; i < op.rows.size(); ++i) {
    biases.emplace_back(op.rows[i]);
    for (int32_t r = 0; r < op.rows[i]; ++r) biases[i][r] = random_value(seed + 6, r + 1000 * i);
  }
  const auto dot = [&](size_t i, int t, int32_t r) {
    double sum = op.bias ? biases[i][r] : 0;
    for (int32_t c = 0; c < op.cols; ++c) {
      sum += double(x[size_t(t) * op.cols + c]) * weights[i].values[size_t(r) * op.cols + c];
    }
    return sum;
  };
  for (size_t i = 0; i < num_outputs; ++i) {
    const int32_t rows = op.rows[i];
    expected[i].resize(size_t(most) * rows);
    residuals[i].resize(size_t(most) * rows);
    for (int t = 0; t < most; ++t) {
      for (int32_t r = 0; r < rows; ++r) {
        const size_t at = size_t(t) * rows + r;
        residuals[i][at] = random_value(seed + 7, at);
        double value = dot(i, t, r);
        if (op.has_activation) {
          const bool is_gated = op.rows.size() == 2;
          value = is_gated ? activated(dot(1, t, r), true) * value : activated(value, false);
        } else if (op.residual) {
          value += residuals[i][at];
        }
        expected[i][at] = value;
      }
    }
  }

  std::vector<DeviceBuffer> device_biases, device_residuals;
  for (size_t i = 0; i < op.rows.size(); ++i) {
    device_biases.emplace_back(biases[i].size() * sizeof(float));
    cudaMemcpy(device_biases[i].data(), biases[i].data(), biases[i].size() * sizeof(float),
               cudaMemcpyHostToDevice);
  }
  for (size_t i = 0; i < num_outputs; ++i) {
    device_residuals.emplace_back(residuals[i].size() * sizeof(float));
    cudaMemcpy(device_residuals[i].data(), residuals[i].data(), residuals[i].size() * sizeof(float),
               cudaMemcpyHostToDevice);
  }

  std::vector<Kernel> kernels;
  const bool is_16_bit = dtype != DType::kF32 && stream.has_tensor_cores();
  if (!op.out_is_operand) kernels.push_back(Kernel::kExact);
  if (is_16_bit) {
    kernels.push_back(Kernel::kSm80);  // the first: it takes every batch
    if (stream.is_hopper()) kernels.push_back(Kernel::kSm90);
    kernels.push_back(Kernel::kStreamSm80);
    if (stream.is_hopper()) kernels.push_back(Kernel::kStreamSm90);
  }
  std::vector<std::vector<uint32_t>> first_bits[2];  // of tensor-core kernels; of the exact one
  for (const Kernel kernel : kernels) {
    if (is_skipped(options, kKernelNames[int(kernel)])) continue;
    for (auto batch = batches.rbegin(); batch != batches.rend(); ++batch) {
      const int tokens = *batch;
      if (is_stream(kernel) && tokens > kMaxStreamTokens) continue;
      const std::string what =
          format("%s %s %s, %d tokens", name_of(dtype), op.name, kKernelNames[int(kernel)], tokens);
      // Inputs: as floats, or as an operand whose padding rows are NaN and padding columns zero.
      DeviceBuffer input(std::max(x.size() * sizeof(float), operand_bytes(most, op.cols)));
      if (kernel == Kernel::kExact) {
        cudaMemcpy(input.data(), x.data(), size_t(tokens) * op.cols * sizeof(float),
                   cudaMemcpyHostToDevice);
      } else {
        std::vector<uint16_t> operand(operand_bytes(tokens, op.cols) / 2, 0xffff);
        for (int t = 0; t < round_up(tokens, 8); ++t) {
          for (int32_t c = 0; c < round_up(op.cols, kBlockCols); ++c) {
            if (t >= tokens && c < op.cols) continue;
            operand[operand_element(t, c, round_up(tokens, 8))] =
                c < op.cols ? half_bits(half, x[size_t(t) * op.cols + c]) : 0;
          }
        }
        cudaMemcpy(input.data(), operand.data(), operand.size() * 2, cudaMemcpyHostToDevice);
      }
      LinearArgs args;
      args.x = input.data();
      args.rows = tokens;
      args.cols = op.cols;
      args.num_outputs = int(op.rows.size());
      args.has_activation = op.has_activation;
      args.activation = op.rows.size() == 2 ? Activation::kSilu : Activation::kRelu;
      args.out_is_operand = op.out_is_operand;
      std::vector<DeviceBuffer> outs;
      for (size_t i = 0; i < op.rows.size(); ++i) {
        args.outputs[i].weight = weights[i].map;
        args.outputs[i].bias = op.bias ? device_biases[i].data<float>() : nullptr;
        if (i >= num_outputs) continue;
        args.outputs[i].residual = op.residual ? device_residuals[i].data<float>() : nullptr;
        outs.emplace_back(op.out_is_operand ? operand_bytes(tokens, op.rows[i])
                                            : size_t(tokens) * op.rows[i] * sizeof(float));
        poison(outs.back().data(), outs.back().bytes());
        args.outputs[i].out = outs.back().data();
      }
      note(what);
      try {
        run(stream, kernel, dtype, args);
      } catch (const Error& error) {
        fail("%s: %s", what.c_str(), error.what());
        continue;
      }
      check(cudaStreamSynchronize(stream.handle), what.c_str());

      auto& bits = first_bits[kernel == Kernel::kExact];
      for (size_t i = 0; i < num_outputs; ++i) {
        std::vector<uint32_t> words(outs[i].bytes() / 4);
        cudaMemcpy(words.data(), outs[i].data(), outs[i].bytes(), cudaMemcpyDeviceToHost);
        const int32_t rows = op.rows[i];
        std::vector<uint32_t> own(size_t(tokens) * rows);
        double error = 0, norm = 0, worst = 0;
        int wrong = 0;
        for (int t = 0; t < tokens; ++t) {
          const int32_t padded = op.out_is_operand ? round_up(rows, kBlockCols) : rows;
          for (int32_t r = 0; r < padded; ++r) {
            float value;
            if (op.out_is_operand) {
              const size_t at = operand_element(t, r, round_up(tokens, 8));
              const uint16_t word = uint16_t(words[at / 2] >> (at % 2 * 16));
              value = half_value(half, word);
              if (r >= rows) {
                wrong += !(value == 0);
                continue;
              }
            } else {
              std::memcpy(&value, &words[size_t(t) * rows + r], 4);
            }
            std::memcpy(&own[size_t(t) * rows + r], &value, 4);
            const double difference = std::abs(value - expected[i][size_t(t) * rows + r]);
            wrong += !(difference < 1e30);
            error += difference * difference;
            norm += expected[i][size_t(t) * rows + r] * expected[i][size_t(t) * rows + r];
            worst = std::max(worst, difference);
          }
        }
        double bound = is_quantized(dtype) && kernel != Kernel::kExact ? 1e-3 : 3e-5;
        if (op.out_is_operand) bound = half == DType::kBF16 ? 8e-3 : 1e-3;
        const double deviation = std::sqrt(norm / (double(tokens) * rows));
        if (wrong > 0 || !(std::sqrt(error / norm) <= bound) ||
            !(worst <= 20 * bound * deviation)) {
          fail("%s: error %.2g, worst %.2g deviations, %d not written", what.c_str(),
               std::sqrt(error / norm), worst / deviation, wrong);
        }
        if (bits.size() <= i) {
          bits.push_back(own);
        } else {
          size_t differ = 0;
          for (size_t at = 0; at < own.size(); ++at) differ += own[at] != bits[i][at];
          if (differ > 0) {
            fail("%s: %zu of %zu values have other bits than those of %s, %d tokens", what.c_str(),
                 differ, own.size(),
                 kKernelNames[int(kernel == Kernel::kExact ? Kernel::kExact : Kernel::kSm80)],
                 most);
          }
        }
      }
    }
  }
}

struct Heads {
  int32_t num_heads, num_kv_heads, head_dim;
  bool has_rope, has_bias;
};

template <class T>
DeviceBuffer on_device(const std::vector<T>& values) {
  DeviceBuffer buffer(values.size() * sizeof(T));
  check(cudaMemcpy(buffer.data(), values.data(), buffer.bytes(), cudaMemcpyHostToDevice),
        "Cannot copy inputs");
  return buffer;
}

std::vector<std::byte> on_host(const DeviceBuffer& buffer) {
  std::vector<std::byte> bytes(buffer.bytes());
  check(cudaMemcpy(bytes.data(), buffer.data(), bytes.size(), cudaMemcpyDeviceToHost),
        "Cannot copy results");
  return bytes;
}

/// q and the KV cache of the kernel that rotates and writes them itself, against those of two
/// kernels: the same bits, and nothing else written.
void check_qkv(Stream& stream, DType dtype, const Heads& heads, const std::vector<int>& batches,
               uint32_t seed) {
  constexpr int32_t kCols = 160;  // an odd number of blocks
  const DType half = dtype == DType::kBF16 ? DType::kBF16 : DType::kF16;
  const int32_t rope_half = heads.has_rope ? heads.head_dim / 2 : 0;
  const int32_t num_heads[] = {heads.num_heads, heads.num_kv_heads, heads.num_kv_heads};
  const auto random_floats = [&](size_t count, uint32_t seed) {
    std::vector<float> values(count);
    for (size_t i = 0; i < count; ++i) values[i] = random_value(seed, i);
    return on_device(values);
  };
  std::vector<Weight> weights;
  std::vector<DeviceBuffer> biases;
  for (int i = 0; i < 3; ++i) {
    weights.emplace_back(dtype, num_heads[i] * heads.head_dim, kCols, seed + 10 * i);
    biases.push_back(random_floats(weights[i].rows, seed + 40 + i));
  }
  for (const int tokens : batches) {
    std::vector<uint16_t> operand(operand_bytes(tokens, kCols) / 2, 0xffff);
    for (int t = 0; t < tokens; ++t) {
      for (int32_t c = 0; c < round_up(kCols, kBlockCols); ++c) {
        operand[operand_element(t, c, round_up(tokens, 8))] =
            c < kCols ? half_bits(half, exact_half(seed + 5, t * kCols + c)) : 0;
      }
    }
    const DeviceBuffer input = on_device(operand), raw = random_floats(kCols, seed + 6);
    const DeviceBuffer cosines = random_floats(tokens * heads.head_dim, seed + 7);
    const DeviceBuffer sines = random_floats(tokens * heads.head_dim, seed + 8);
    KvCache kv;
    kv.spec = {2, heads.num_kv_heads, heads.head_dim, 16, half};
    kv.num_blocks = tokens / 16 + 2;
    std::vector<int32_t> slots(tokens);  // scattered; one is padding
    for (int t = 0; t < tokens; ++t) slots[t] = (t * 37 + 5) % (kv.num_blocks * 16);
    if (tokens > 1) slots[tokens / 2] = -1;
    const DeviceBuffer device_slots = on_device(slots);

    StepView step;
    step.num_tokens = tokens;
    step.kv_slots = device_slots.data<int32_t>();
    step.rope_cos = cosines.data<float>();
    step.rope_sin = sines.data<float>();
    AttentionSpec attention;
    attention.layer = 1;
    attention.num_heads = heads.num_heads;
    const std::string what = format("%s qkv, %d heads of %d, %d tokens", name_of(dtype),
                                    heads.num_heads, heads.head_dim, tokens);
    std::vector<std::byte> results[2][2];
    for (const bool is_fused : {false, true}) {
      DeviceBuffer cache(kv.num_blocks * kv.spec.block_bytes());
      poison(cache.data(), cache.bytes());
      kv.data = cache.data();
      LinearArgs args;
      args.x = input.data();
      if (norms_itself(tokens, kCols)) args.raw = raw.data<float>();
      args.rows = tokens;
      args.cols = kCols;
      args.num_outputs = 3;
      std::vector<DeviceBuffer> outs;
      for (int i = 0; i < 3; ++i) {
        outs.emplace_back(size_t(tokens) * weights[i].rows * sizeof(float));
        poison(outs[i].data(), outs[i].bytes());
        args.outputs[i].weight = weights[i].map;
        args.outputs[i].bias = heads.has_bias ? biases[i].data<float>() : nullptr;
        args.outputs[i].out = outs[i].data();
      }
      if (is_fused) {
        args.qkv = {kv, attention.layer, rope_half, step.kv_slots, step.rope_cos, step.rope_sin};
      }
      note(what);
      linear_stream_sm90(stream, dtype, args);
      if (!is_fused) {
        rope_and_write_kv(stream, step, kv, attention, {}, {}, rope_half, false,
                          outs[0].data<float>(), outs[1].data<float>(), outs[2].data<float>());
      }
      check(cudaStreamSynchronize(stream.handle), what.c_str());
      results[is_fused][0] = on_host(outs[0]);
      results[is_fused][1] = on_host(cache);
    }
    if (results[0][0] != results[1][0]) fail("%s: q has other bits when fused", what.c_str());
    if (results[0][1] != results[1][1]) fail("%s: K or V has other bits when fused", what.c_str());
  }
}

}  // namespace

void check_linear(Stream& stream, const Options& options) {
  const bool reduced = options.reduced;
  std::vector<int> batches = {1, 2, 7, 8, 9, 16, 17, 33, 63, 64, 65, 130, 300};
  std::vector<int> wide_batches = {1, 2, 9, 64};  // where rows are many
  if (reduced) batches = {1, 9, 70}, wide_batches = {1, 9};
  int ops = 0;
  for (const DType dtype :
       {DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kF32}) {
    if (reduced && (dtype == DType::kQ4_0 || dtype == DType::kF32)) continue;
    const bool quantized = is_quantized(dtype);
    const std::vector<Op> shapes = {
        {"three outputs", {40, 17, 100}, quantized ? 96 : 75, false, false, true, false},
        {"residual", {203}, quantized ? 608 : 577, false, false, false, true},
        {"gated", {72, 72}, quantized ? 160 : 130, true, false, true, false},
        {"gated to operand", {90, 90}, quantized ? 352 : 320, true, true, false, false},
        {"relu to operand", {130}, quantized ? 64 : 33, true, true, true, false},
        {"long", {33}, 2048 + 32, false, false, true, true},
        {"rounds", {33003}, quantized ? 96 : 75, false, false, true, false},
        {"gated in rounds", {15007, 15007}, quantized ? 96 : 75, true, true, false, false},
    };
    for (const Op& op : shapes) {
      if (dtype == DType::kF32 && op.out_is_operand) continue;
      if (reduced && op.cols > 2000) continue;
      const bool is_wide = op.rows[0] >= kWideRows;
      check_op(stream, options, dtype, op, is_wide ? wide_batches : batches, 77 + ops++);
    }
  }
  std::printf("linear: %d ops by every kernel, up to %zu batches each\n", ops, batches.size());
  std::fflush(stdout);
  if (!stream.is_hopper() || is_skipped(options, "stream_sm90")) return;
  const std::vector<Heads> all_heads = {
      {9, 3, 64, true, false},   // SmolLM2-135M
      {7, 1, 128, true, true},   // Qwen2.5
      {3, 3, 96, false, true},   // no RoPE
      {45, 3, 96, true, false},  // several pairs of strips a CTA, the last CTA not full
  };
  std::vector<int> few = {1, 2, 3, 8, 9, 17, 33, 64};
  if (reduced) few = {1, 17};
  for (const DType dtype : {DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kQ4_1}) {
    for (const Heads& heads : all_heads) check_qkv(stream, dtype, heads, few, 77 + ops++);
  }
  std::printf("linear: q, K and V of one kernel as of two, %zu batches each\n", few.size());
  std::fflush(stdout);
}

}  // namespace hearth::bench

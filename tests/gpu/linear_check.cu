// Every linear kernel at small odd shapes, against float64 on the host: rows and columns that no
// tile divides, weights in many pages, poisoned padding and outputs. And one result for a token,
// bit by bit, whatever the kernel, however a tuner cuts it, and whoever else is in the batch.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "gpu_tests.h"
#include "inputs.h"
#include "linear_kernels.h"
#include "operand.h"
#include "weights.h"

namespace hearth::gpu_tests {
namespace {

using namespace hearth::cuda;

struct Op {
  const char* name;
  std::vector<int32_t> rows;  // of each weight; with an activation: up, gate
  int32_t cols;
  bool has_activation, out_is_operand, bias, residual;
  int32_t strips_per_page = 0;  // 0: 2, or of many strips more

  size_t num_outputs() const { return has_activation ? 1 : rows.size(); }
  bool is_gated() const { return has_activation && rows.size() == 2; }
  bool is_wide() const { return rows[0] >= kWideRows; }
};

/// What a launch may guess of where pages lie.
enum class Guess { kNone, kRight, kWrong };

/// A kernel and how it is cut.
struct Kernel {
  std::string name;
  LinearChoice choice;
  Guess guess = Guess::kNone;

  bool is_exact() const { return choice.kernel == LinearKernel::kExact; }
};

Kernel default_kernel(LinearKernel kernel) {
  LinearChoice choice;
  choice.kernel = kernel;
  return {kernel_name(kernel), choice};
}

/// Those that the device has for an op. The first tensor-core kernel takes every batch: others are
/// compared with it.
std::vector<Kernel> kernels_for(const Stream& stream, const Options& options, DType dtype,
                                const Op& op) {
  std::vector<Kernel> kernels;
  const auto add = [&](LinearKernel kernel) {
    if (!is_listed(options.skip, kernel_name(kernel))) kernels.push_back(default_kernel(kernel));
  };
  const auto add_cut = [&](const char* how, LinearKernel kernel, const auto& cut) {
    if (options.reduced || is_listed(options.skip, kernel_name(kernel))) return;
    kernels.push_back(default_kernel(kernel));
    kernels.back().name += how;
    cut(kernels.back().choice);
  };
  if (!op.out_is_operand) add(LinearKernel::kExact);
  if (dtype == DType::kF32 || !stream.has_tensor_cores()) return kernels;
  add(LinearKernel::kGemmSm80);
  if (stream.is_hopper()) {
    const LinearKernel gemm = LinearKernel::kGemmSm90;
    add(gemm);
    add_cut(" of 64 tokens", gemm, [](LinearChoice& choice) { choice.tile_tokens = 64; });
    add_cut(" of 128 tokens", gemm, [](LinearChoice& choice) { choice.tile_tokens = 128; });
    add_cut(" of 256 tokens", gemm, [](LinearChoice& choice) { choice.tile_tokens = 256; });
  }
  add(LinearKernel::kStreamSm80);
  add_cut(" of 2 strips", LinearKernel::kStreamSm80,
          [](LinearChoice& choice) { choice.strip_warps = 2; });
  if (stream.is_hopper()) {
    add(LinearKernel::kStreamSm90);
    add_cut(" in short ranges", LinearKernel::kStreamSm90, [](LinearChoice& choice) {
      choice.ring_bytes = 160 << 10;
      choice.range_bytes = 16 << 10;
      choice.range_strips = 1;
      choice.max_ctas_each = 1;
    });
    for (const Guess guess : {Guess::kRight, Guess::kWrong}) {
      if (op.rows.size() > 1 || is_listed(options.skip, kernel_name(LinearKernel::kStreamSm90))) {
        continue;
      }
      kernels.push_back(default_kernel(LinearKernel::kStreamSm90));
      kernels.back().name += guess == Guess::kRight ? " betting" : " betting in vain";
      kernels.back().guess = guess;
      kernels.back().choice.bet_bytes = 0;
    }
  }
  return kernels;
}

double activated(double x, bool is_gated) {
  return is_gated ? x / (1 + std::exp(-x)) : std::max(x, 0.0);
}

/// Results by output: [tokens, rows].
using Rows = std::vector<std::vector<float>>;

/// An op with its inputs on the host and on the device, for up to so many tokens.
class Case {
 public:
  Case(CudaDevice& device, SourceFormat format, const Op& op, int most_tokens, uint32_t seed);

  /// Runs a kernel over the first tokens, into poisoned memory.
  Rows run(const Kernel& kernel, int tokens) const;
  /// Of an output and the first tokens, in float64.
  std::span<const double> expected(size_t output, int tokens) const {
    return std::span(expected_[output]).first(size_t(tokens) * op_.rows[output]);
  }
  /// How far a kernel's results may be from those, relative to them.
  double bound(const Kernel& kernel) const {
    if (op_.out_is_operand) return half_ == DType::kBF16 ? 8e-3 : 1e-3;
    return is_quantized(dtype_) && !kernel.is_exact() ? 1e-3 : 3e-5;
  }

 private:
  float x(int token, int32_t col) const { return x_[size_t(token) * op_.cols + col]; }
  double dot(size_t weight, int token, int32_t row) const;
  std::vector<double> make_expected(size_t output, int tokens,
                                    const std::vector<float>& residual) const;
  Memory upload_input(const Kernel& kernel, int tokens) const;

  CudaDevice& device_;
  const Op& op_;
  const DType dtype_, half_;
  std::vector<FileWeight> weights_;
  std::vector<PagedWeight> shuffled_, even_;
  std::vector<float> x_;
  std::vector<std::vector<float>> biases_;
  std::vector<Memory> device_biases_, device_residuals_;
  std::vector<std::vector<double>> expected_;
};

Case::Case(CudaDevice& device, SourceFormat format, const Op& op, int most_tokens, uint32_t seed)
    : device_(device), op_(op), dtype_(DType(format)), half_(half_of(dtype_)),
      x_(size_t(most_tokens) * op.cols) {
  for (size_t i = 0; i < x_.size(); ++i) x_[i] = exact_half(seed + 5, i);
  for (size_t i = 0; i < op.rows.size(); ++i) {
    weights_.emplace_back(format, op.rows[i], op.cols, uint32_t(seed + 10 * i));
    const int32_t strips = weights_[i].num_strips();
    const int32_t strips_per_page =
        op.strips_per_page > 0 ? op.strips_per_page : std::max(2, strips / 64);
    shuffled_.emplace_back(device, weights_[i], 1, strips_per_page, PagedWeight::Order::kShuffled,
                           seed);
    even_.emplace_back(device, weights_[i], 1, strips_per_page, PagedWeight::Order::kEven, seed);
    biases_.emplace_back(op.rows[i]);
    for (int32_t r = 0; r < op.rows[i]; ++r) biases_[i][r] = random_value(seed + 6, r + 1000 * i);
    device_biases_.push_back(upload(device, biases_[i]));
  }
  for (size_t i = 0; i < op.num_outputs(); ++i) {
    std::vector<float> residual(size_t(most_tokens) * op.rows[i]);
    for (size_t at = 0; at < residual.size(); ++at) residual[at] = random_value(seed + 7, at);
    expected_.push_back(make_expected(i, most_tokens, residual));
    device_residuals_.push_back(upload(device, residual));
  }
}

double Case::dot(size_t weight, int token, int32_t row) const {
  const double* const values = weights_[weight].values.data() + size_t(row) * op_.cols;
  double sum = op_.bias ? biases_[weight][row] : 0;
  for (int32_t c = 0; c < op_.cols; ++c) sum += double(x(token, c)) * values[c];
  return sum;
}

std::vector<double> Case::make_expected(size_t output, int tokens,
                                        const std::vector<float>& residual) const {
  const int32_t rows = op_.rows[output];
  std::vector<double> expected(size_t(tokens) * rows);
  for (int t = 0; t < tokens; ++t) {
    for (int32_t r = 0; r < rows; ++r) {
      const size_t at = size_t(t) * rows + r;
      double value = dot(output, t, r);
      if (op_.is_gated()) {
        value *= activated(dot(1, t, r), true);
      } else if (op_.has_activation) {
        value = activated(value, false);
      } else if (op_.residual) {
        value += residual[at];
      }
      expected[at] = value;
    }
  }
  return expected;
}

Memory Case::upload_input(const Kernel& kernel, int tokens) const {
  if (kernel.is_exact()) {
    return upload(device_, std::vector(x_.begin(), x_.begin() + size_t(tokens) * op_.cols));
  }
  return upload(device_,
                make_operand(half_, tokens, op_.cols, [&](int t, int32_t c) { return x(t, c); }));
}

Rows Case::run(const Kernel& kernel, int tokens) const {
  const Memory input = upload_input(kernel, tokens);
  LinearOp args;
  args.x = input.data();
  args.rows = tokens;
  args.cols = op_.cols;
  args.num_outputs = int(op_.rows.size());
  args.has_activation = op_.has_activation;
  args.activation = op_.is_gated() ? Activation::kSilu : Activation::kRelu;
  args.out_is_operand = op_.out_is_operand;
  std::vector<Memory> outs;
  for (size_t i = 0; i < op_.rows.size(); ++i) {
    const PagedWeight& weight = kernel.guess == Guess::kRight ? even_[i] : shuffled_[i];
    args.outputs[i].weight = weight.ref;
    if (kernel.guess == Guess::kRight && weight.guess.first == nullptr) {
      fail("%s: pages that lie evenly give no guess", kernel.name.c_str());
    }
    if (op_.rows.size() == 1 && kernel.guess != Guess::kNone) {
      args.guess = kernel.guess == Guess::kRight ? weight.guess : weight.wrong_guess;
    }
    args.outputs[i].bias = op_.bias ? device_biases_[i].as<float>() : nullptr;
    if (i >= op_.num_outputs()) continue;
    args.outputs[i].residual = op_.residual ? device_residuals_[i].as<float>() : nullptr;
    outs.push_back(poisoned(device_, op_.out_is_operand
                                         ? operand_bytes(tokens, op_.rows[i])
                                         : size_t(tokens) * op_.rows[i] * sizeof(float)));
    args.outputs[i].out = outs[i].data();
  }
  run_linear(device_.stream(), kernel.choice, dtype_, args);
  finish(device_, kernel.name.c_str());

  Rows rows;
  for (size_t i = 0; i < outs.size(); ++i) {
    rows.push_back(op_.out_is_operand ? read_operand(half_, download<uint16_t>(device_, outs[i]),
                                                     tokens, op_.rows[i])
                                      : download<float>(device_, outs[i]));
  }
  return rows;
}

/// Results that others must have the bits of, as far as both have tokens.
struct Reference {
  std::string what;
  Rows rows;

  size_t count_differences(size_t output, const std::vector<float>& rows) const {
    const std::vector<float>& own = this->rows[output];
    size_t count = 0;
    for (size_t i = 0; i < std::min(own.size(), rows.size()); ++i) {
      count += std::memcmp(&rows[i], &own[i], sizeof(float)) != 0;
    }
    return count;
  }
};

void check_rows(const Case& op, const Kernel& kernel, int tokens, const std::string& what,
                Rows rows, Reference& reference) {
  for (size_t i = 0; i < rows.size(); ++i) {
    const Difference difference = compare(rows[i], op.expected(i, tokens));
    if (!difference.is_within(op.bound(kernel))) {
      fail("%s: output %zu: %s", what.c_str(), i, difference.describe().c_str());
    }
    if (reference.what.empty()) continue;
    const size_t differ = reference.count_differences(i, rows[i]);
    if (differ > 0) {
      fail("%s: output %zu: %zu of %zu values have other bits than those of %s", what.c_str(), i,
           differ, rows[i].size(), reference.what.c_str());
    }
  }
  if (reference.what.empty()) reference = {what, std::move(rows)};
}

/// All kernels on one op and format, the largest batch first.
void check_op(CudaDevice& device, const Options& options, SourceFormat format, const Op& op,
              const std::vector<int>& batches, uint32_t seed) {
  const Case one(device, format, op, batches.back(), seed);
  Reference tensor_cores, exact;
  for (const Kernel& kernel : kernels_for(device.stream(), options, DType(format), op)) {
    for (auto tokens = batches.rbegin(); tokens != batches.rend(); ++tokens) {
      if (is_stream(kernel.choice.kernel) && *tokens > kMaxStreamTokens) continue;
      const std::string what = hearth::format("%s %s %s, %d tokens", dtype_name(DType(format)),
                                              op.name, kernel.name.c_str(), *tokens);
      note(what);
      attempt(what.c_str(), [&] {
        check_rows(one, kernel, *tokens, what, one.run(kernel, *tokens),
                   kernel.is_exact() ? exact : tensor_cores);
      });
    }
  }
}

std::vector<Op> ops_of(bool quantized) {
  return {
      {"three outputs", {40, 17, 100}, quantized ? 96 : 75, false, false, true, false},
      {"residual", {203}, quantized ? 608 : 577, false, false, false, true},
      {"gated", {72, 72}, quantized ? 160 : 130, true, false, true, false},
      {"gated to operand", {90, 90}, quantized ? 352 : 320, true, true, false, false},
      {"relu to operand", {130}, quantized ? 64 : 33, true, true, true, false},
      {"long", {33}, 2048 + 32, false, false, true, true},
      {"rounds", {33003}, quantized ? 96 : 75, false, false, true, false},
      {"gated in rounds", {15007, 15007}, quantized ? 96 : 75, true, true, false, false},
      {"207 pages", {3303}, quantized ? 96 : 75, false, false, true, false, 1},
  };
}

}  // namespace

void check_linear(CudaDevice& device, const Options& options) {
  std::vector<int> batches = {1, 2, 7, 8, 9, 16, 17, 33, 63, 64, 65, 130, 300};
  std::vector<int> wide_batches = {1, 2, 9, 64};  // where rows are many
  if (options.reduced) batches = {1, 9, 70}, wide_batches = {1, 9};
  int num_ops = 0;
  for (const SourceFormat format : {SourceFormat::kF16, SourceFormat::kBF16, SourceFormat::kQ8_0,
                                    SourceFormat::kQ4_0, SourceFormat::kQ4_1, SourceFormat::kF32}) {
    const bool is_rare = format == SourceFormat::kQ4_0 || format == SourceFormat::kF32;
    if (options.reduced && is_rare) continue;
    for (const Op& op : ops_of(is_quantized(format))) {
      if (format == SourceFormat::kF32 && op.out_is_operand) continue;
      if (options.reduced && op.cols > 2000) continue;
      check_op(device, options, format, op,
               op.is_wide() || op.strips_per_page > 0 ? wide_batches : batches, 77 + num_ops++);
    }
  }
  std::printf("linear: %d ops by every kernel, up to %zu batches each\n", num_ops, batches.size());
  std::fflush(stdout);
}

}  // namespace hearth::gpu_tests

// Linear ops at the shapes of whole models: decode at 1 to 64 tokens against the time that its
// bytes take, prefill at 4,096 against the rate of a large product, both beside cuBLAS.
//
//   Bytes     weights, operand and residual once, and what is stored: fp32, or the next op's 16-bit
//             operand. Of few tokens all is weights, but for a wide output: 16 rows of 128,256
//             logits are 8.2 MB.
//
//   Every shape has several copies of its weights, more than 300 MB in all, so that no cache holds
//   them; a graph goes through the copies. Results are compared with float64 sums first.
#include <cuda_fp16.h>

#include <memory>

#include "backend/cuda/dispatch.h"
#include "backend/cuda/linear.h"
#include "bench.cuh"
#include "cublas.h"

namespace hearth::bench {
namespace {

using namespace hearth::cuda;

constexpr size_t kRotateBytes = 320u << 20;
constexpr size_t kPageBytes = 16u << 20;  // as weights.h
constexpr int kPrefillTokens = 4096;
constexpr uint32_t kInputSeed = 100, kBiasSeed = 200, kResidualSeed = 300;

struct Shape {
  const char* model;
  const char* op;
  std::vector<int32_t> rows;  // of the weights that share the input; gated: up, gate
  int32_t cols;
  enum Kind { kPlain, kResidual, kGated, kActivated } kind = kPlain;
  bool bias = false;

  bool is_operand() const { return kind == kGated || kind == kActivated; }
  int32_t all_rows() const {
    int32_t sum = 0;
    for (int32_t r : rows) sum += r;
    return sum;
  }
  int32_t out_rows() const { return is_operand() ? rows[0] : all_rows(); }
  double bytes() const { return 2.0 * all_rows() * cols; }  // of the weights
  double all_bytes(int tokens) const {
    const double residual = kind == kResidual ? 4.0 * rows[0] : 0;
    return bytes() + tokens * (2.0 * cols + residual + (is_operand() ? 2.0 : 4.0) * out_rows());
  }
  double flops(int tokens) const { return 2.0 * all_rows() * cols * tokens; }
};

std::vector<Shape> model_shapes() {
  std::vector<Shape> shapes;
  const auto llama = [&](const char* model, int32_t hidden, int32_t kv, int32_t mlp,
                         int32_t vocab) {
    shapes.push_back({model, "qkv", {hidden, kv, kv}, hidden});
    shapes.push_back({model, "o", {hidden}, hidden, Shape::kResidual});
    shapes.push_back({model, "gate_up", {mlp, mlp}, hidden, Shape::kGated});
    shapes.push_back({model, "down", {hidden}, mlp, Shape::kResidual});
    shapes.push_back({model, "lm_head", {vocab}, hidden});
  };
  llama("Llama-2-13B", 5120, 5120, 13824, 32000);
  llama("Llama-3-8B", 4096, 1024, 14336, 128256);
  shapes.push_back({"OPT-6.7B", "qkv", {4096, 4096, 4096}, 4096, Shape::kPlain, true});
  shapes.push_back({"OPT-6.7B", "o", {4096}, 4096, Shape::kResidual, true});
  shapes.push_back({"OPT-6.7B", "fc1", {16384}, 4096, Shape::kActivated, true});
  shapes.push_back({"OPT-6.7B", "fc2", {4096}, 16384, Shape::kResidual, true});
  shapes.push_back({"OPT-6.7B", "lm_head", {50272}, 4096});
  llama("SmolLM2-135M", 576, 192, 1536, 49152);
  return shapes;
}

// ---------------------------------------------------------------------------------- the inputs

// Strips of fp16: element by element the value that the reference asks for.
__global__ void fill_strips(__half* to, int32_t first_row, int32_t num_rows, int32_t cols,
                            uint32_t seed) {
  const size_t count = size_t(num_rows) * cols;  // whole strips, cols a multiple of 64
  const int32_t blocks = cols / kBlockCols;
  for (size_t i = blockIdx.x * size_t(blockDim.x) + threadIdx.x; i < count;
       i += size_t(gridDim.x) * blockDim.x) {
    const size_t block = i / 1024;
    const int at = int(i % 1024), lane = at % 256 / 8, pair = at % 8 / 2;
    const int row = lane / 4 + pair % 2 * 8;
    const int col = at / 256 * 16 + lane % 4 * 2 + pair / 2 * 8 + at % 2;
    const uint64_t r = first_row + block / blocks * kStripRows + row;
    const uint64_t c = block % blocks * kBlockCols + col;
    to[i] = __float2half_rn(random_value(seed, r * cols + c) * kWeightScale);
  }
}

__global__ void fill_rows(__half* to, size_t count, uint32_t seed, float scale) {
  for (size_t i = blockIdx.x * size_t(blockDim.x) + threadIdx.x; i < count;
       i += size_t(gridDim.x) * blockDim.x) {
    to[i] = __float2half_rn(random_value(seed, i) * scale);
  }
}

__global__ void fill_floats(float* to, size_t count, uint32_t seed) {
  for (size_t i = blockIdx.x * size_t(blockDim.x) + threadIdx.x; i < count;
       i += size_t(gridDim.x) * blockDim.x) {
    to[i] = random_value(seed, i);
  }
}

__global__ void fill_operand(__half* to, int32_t rows, int32_t cols, uint32_t seed) {
  const size_t count = size_t(rows) * cols;
  for (size_t i = blockIdx.x * size_t(blockDim.x) + threadIdx.x; i < count;
       i += size_t(gridDim.x) * blockDim.x) {
    to[operand_element(int32_t(i / cols), int32_t(i % cols), round_up(rows, 8))] =
        __float2half_rn(random_value(seed, i));
  }
}

constexpr dim3 kFillGrid(2048);
constexpr dim3 kFillBlock(256);

uint32_t weight_seed(int copy, size_t output) { return uint32_t(1000 + copy * 8 + output); }

/// Copies of a shape's weights, packed for our kernels or row by row for cuBLAS.
class Weights {
 public:
  Weights(Stream& stream, const Shape& shape, bool for_cublas)
      : copies_(int(std::clamp(kRotateBytes / shape.bytes() + 1, 3.0, 512.0))) {
    const size_t row_bytes = size_t(shape.cols) * 2, strip_bytes = row_bytes * kStripRows;
    const int32_t strips_a_page = int32_t(kPageBytes / strip_bytes);
    memory_ = DeviceBuffer(copies_ * size_t(shape.all_rows()) * row_bytes);
    std::byte* to = memory_.data();
    for (int copy = 0; copy < copies_; ++copy) {
      rows_.push_back(to);
      for (size_t output = 0; output < shape.rows.size(); ++output) {
        const int32_t rows = shape.rows[output];
        const uint32_t seed = weight_seed(copy, output);
        if (for_cublas) {
          fill_rows<<<kFillGrid, kFillBlock, 0, stream.handle>>>(
              reinterpret_cast<__half*>(to), size_t(rows) * shape.cols, seed, kWeightScale);
        } else {
          fill_strips<<<kFillGrid, kFillBlock, 0, stream.handle>>>(reinterpret_cast<__half*>(to), 0,
                                                                   rows, shape.cols, seed);
          WeightView view;
          view.layout = strip_layout(DType::kF16, rows, shape.cols);
          const int32_t strips = rows / kStripRows;
          for (int32_t first = 0; first < strips; first += strips_a_page) {
            view.segments.push_back(
                {to + first * strip_bytes, first, std::min(strips_a_page, strips - first)});
          }
          maps_.emplace_back();
          map_strips(view, maps_.back());
        }
        to += rows * row_bytes;
      }
    }
    check(cudaStreamSynchronize(stream.handle), "Cannot fill weights");
  }

  int copies() const { return copies_; }
  const void* rows(int copy) const { return rows_[copy]; }
  const StripMap& map(int copy, size_t output, size_t outputs) const {
    return maps_[copy * outputs + output];
  }

 private:
  int copies_;
  DeviceBuffer memory_;
  std::vector<const std::byte*> rows_;
  std::vector<StripMap> maps_;
};

// ----------------------------------------------------------------------------- the reference

struct Reference {
  int32_t tokens;       // of the op
  int32_t step;         // every how many tokens to look at
  int32_t rows[3];      // of each weight
  int32_t num_outputs;  // that are independent
  int32_t cols;
  uint32_t seeds[3];
  Shape::Kind kind;
  bool bias;
  const float* out[3];
  const __half* operand;  // kGated, kActivated
};

__device__ double dot(const Reference& op, int32_t t, int32_t r, int output) {
  double sum = 0;
  for (int32_t c = 0; c < op.cols; ++c) {
    sum += double(random_value(kInputSeed, uint64_t(t) * op.cols + c)) *
           double(random_value(op.seeds[output], uint64_t(r) * op.cols + c) * kWeightScale);
  }
  return sum + (op.bias ? double(random_value(kBiasSeed + output, r)) : 0);
}

__global__ void compare_linear(const Reference op, Comparison* result) {
  const int32_t t = blockIdx.y * op.step;
  int32_t r = blockIdx.x * blockDim.x + threadIdx.x;
  if (op.kind == Shape::kGated || op.kind == Shape::kActivated) {
    if (r >= op.rows[0]) return;
    double value = dot(op, t, r, 0);
    if (op.kind == Shape::kGated) {
      const double gate = dot(op, t, r, 1);
      value *= gate / (1 + exp(-gate));
    } else {
      value = fmax(value, 0.0);
    }
    compare(result, __half2float(op.operand[operand_element(t, r, round_up(op.tokens, 8))]), value);
    return;
  }
  int output = 0;
  while (output < op.num_outputs && r >= op.rows[output]) r -= op.rows[output++];
  if (output == op.num_outputs) return;
  double value = dot(op, t, r, output);
  const size_t at = size_t(t) * op.rows[output] + r;
  if (op.kind == Shape::kResidual) value += double(random_value(kResidualSeed, at));
  compare(result, op.out[output][at], value);
}

// ---------------------------------------------------------------------------------- one shape

/// A shape with its inputs and outputs for at most so many tokens.
class Case {
 public:
  Case(Stream& stream, const Shape& shape, int most_tokens)
      : stream_(stream), shape_(shape), weights_(stream, shape, false),
        x_(operand_bytes(most_tokens, shape.cols)), bias_(shape.all_rows() * sizeof(float)),
        residual_(size_t(most_tokens) * shape.rows[0] * sizeof(float)),
        out_(size_t(round_up(most_tokens, 8)) * shape.out_rows() * sizeof(float)),
        comparison_(sizeof(Comparison)) {
    float* bias = bias_.data<float>();
    for (size_t i = 0; i < shape.rows.size(); ++i) {
      fill_floats<<<kFillGrid, kFillBlock, 0, stream.handle>>>(bias, shape.rows[i],
                                                               uint32_t(kBiasSeed + i));
      bias += shape.rows[i];
    }
    fill_floats<<<kFillGrid, kFillBlock, 0, stream.handle>>>(
        residual_.data<float>(), size_t(most_tokens) * shape.rows[0], kResidualSeed);
  }

  int copies() const { return weights_.copies(); }

  LinearArgs args(int tokens, int copy) const {
    LinearArgs args;
    args.x = x_.data();
    args.rows = tokens;
    args.cols = shape_.cols;
    args.num_outputs = int(shape_.rows.size());
    args.has_activation = args.out_is_operand = shape_.is_operand();
    args.activation = shape_.kind == Shape::kGated ? Activation::kSilu : Activation::kRelu;
    float* out = out_.data<float>();
    const float* bias = bias_.data<float>();
    for (int i = 0; i < args.num_outputs; ++i) {
      args.outputs[i].weight = weights_.map(copy, i, shape_.rows.size());
      args.outputs[i].bias = shape_.bias ? bias : nullptr;
      args.outputs[i].residual =
          shape_.kind == Shape::kResidual ? residual_.data<float>() : nullptr;
      args.outputs[i].out = out;
      out += shape_.is_operand() ? 0 : size_t(tokens) * shape_.rows[i];
      bias += shape_.rows[i];
    }
    return args;
  }

  void set_tokens(int tokens) {
    poison(x_.data(), x_.bytes());
    fill_operand<<<kFillGrid, kFillBlock, 0, stream_.handle>>>(x_.data<__half>(), tokens,
                                                               shape_.cols, kInputSeed);
    check(cudaStreamSynchronize(stream_.handle), "Cannot fill the input");
  }

  /// Runs it once into poisoned memory and compares.
  void compare(LinearKernel kernel, int tokens, const char* what) {
    const int copy = copies() - 1;
    poison(out_.data(), out_.bytes());
    check(cudaMemset(comparison_.data(), 0, sizeof(Comparison)), "Cannot fill device memory");
    note(format("linear %s %s %s, %d tokens", shape_.model, shape_.op, what, tokens));
    run(kernel, tokens, copy);
    Reference op = {};
    op.tokens = tokens;
    op.step = tokens <= 64 ? 1 : tokens / 16 - 1;
    op.num_outputs = int32_t(shape_.rows.size());
    op.cols = shape_.cols;
    op.kind = shape_.kind;
    op.bias = shape_.bias;
    const LinearArgs args = this->args(tokens, copy);
    for (size_t i = 0; i < shape_.rows.size(); ++i) {
      op.rows[i] = shape_.rows[i];
      op.seeds[i] = weight_seed(copy, i);
      op.out[i] = static_cast<const float*>(args.outputs[i].out);
    }
    op.operand = out_.data<__half>();
    const dim3 grid((shape_.out_rows() + 127) / 128, (tokens + op.step - 1) / op.step);
    compare_linear<<<grid, 128, 0, stream_.handle>>>(op, comparison_.data<Comparison>());
    Comparison result;
    check(cudaStreamSynchronize(stream_.handle), what);
    check(cudaMemcpy(&result, comparison_.data(), sizeof(result), cudaMemcpyDeviceToHost), what);
    const double bound = shape_.is_operand() ? 1e-3 : 1e-4;
    if (!result.is_within(bound, 20 * bound)) {
      fail("%s %s %s, %d tokens: error %.2g, worst %.2g deviations, %llu of %llu not finite",
           shape_.model, shape_.op, what, tokens, result.relative(), result.worst_relative(),
           result.num_wrong, result.count);
    }
  }

  void run(LinearKernel kernel, int tokens, int copy) const {
    const LinearArgs args = this->args(tokens, copy);
    switch (kernel) {
      case LinearKernel::kStreamSm80: return linear_stream_sm80(stream_, DType::kF16, args);
      case LinearKernel::kStreamSm90: return linear_stream_sm90(stream_, DType::kF16, args);
      case LinearKernel::kGemmSm80: return linear_gemm_sm80(stream_, DType::kF16, args);
      case LinearKernel::kGemmSm90: return linear_gemm_sm90(stream_, DType::kF16, args);
      case LinearKernel::kExact: break;
    }
    throw Error(HEARTH_UNSUPPORTED, "Cannot time the exact kernel");
  }

  Timing time(const Options& options, LinearKernel kernel, int tokens) const {
    return time_graph(stream_, options, std::max(copies(), 8),
                      [&](int i) { run(kernel, tokens, i % copies()); });
  }

 private:
  Stream& stream_;
  const Shape& shape_;
  Weights weights_;
  DeviceBuffer x_, bias_, residual_, out_, comparison_;
};

/// What cuBLAS takes for a shape, by number of tokens. Its weights are one, and no epilogue.
std::vector<double> time_cublas(Stream& stream, const Options& options, Cublas& cublas,
                                const Shape& shape, const std::vector<int>& tokens) {
  const Weights weights(stream, shape, true);
  DeviceBuffer x(size_t(tokens.back()) * shape.cols * 2);
  DeviceBuffer out(size_t(tokens.back()) * shape.all_rows() * 2);
  fill_rows<<<kFillGrid, kFillBlock, 0, stream.handle>>>(
      x.data<__half>(), size_t(tokens.back()) * shape.cols, kInputSeed, 1);
  std::vector<double> times;
  for (const int t : tokens) {
    times.push_back(time_graph(stream, options, std::max(weights.copies(), 8), [&](int i) {
                      cublas.gemm(t, shape.all_rows(), shape.cols, x.data(),
                                  weights.rows(i % weights.copies()), out.data());
                    }).microseconds);
  }
  return times;
}

const char* name_of(LinearKernel kernel) {
  switch (kernel) {
    case LinearKernel::kStreamSm80: return "stream_sm80";
    case LinearKernel::kStreamSm90: return "stream_sm90";
    case LinearKernel::kGemmSm80: return "gemm_sm80";
    case LinearKernel::kGemmSm90: return "gemm_sm90";
    case LinearKernel::kExact: return "exact";
  }
  return "?";
}

bool is_chosen(const Options& options, const char* workload, const Shape& shape) {
  const std::string name = std::string(workload) + " " + shape.model + " " + shape.op;
  return name.find(options.filter) != std::string::npos;
}

}  // namespace

void bench_decode_linear(Stream& stream, const Options& options, const Ceilings& ceilings,
                         Cublas* cublas) {
  std::vector<int> tokens = {1, 2, 4, 8, 12, 16, 32, 64};
  if (options.quick) tokens = {1, 12, 64};
  const DeviceTraits traits{stream.code, false};
  int num_missed = 0;
  std::printf("\ndecode linear      M   floor    ours  cuBLAS  over   x cuBLAS  gemm    spread\n");
  for (const Shape& shape : model_shapes()) {
    if (!is_chosen(options, "decode_linear", shape)) continue;
    std::vector<double> theirs(tokens.size(), NAN);
    if (cublas != nullptr) {
      attempt("cuBLAS", [&] { theirs = time_cublas(stream, options, *cublas, shape, tokens); });
    }
    Case linear(stream, shape, tokens.back());
    for (size_t i = 0; i < tokens.size(); ++i) {
      const int t = tokens[i];
      const double floor = shape.all_bytes(t) / ceilings.read * 1e6;
      const LinearKernel kernel = choose_linear(traits, DType::kF16, t, shape.all_rows());
      linear.set_tokens(t);
      linear.compare(kernel, t, name_of(kernel));
      const Timing ours = linear.time(options, kernel, t);
      // Where the two kernels meet decides kMaxStreamTokens.
      double gemm = NAN;
      if (t >= 32 && stream.is_hopper() && !is_skipped(options, "gemm_sm90")) {
        linear.compare(LinearKernel::kGemmSm90, t, "gemm_sm90");
        gemm = linear.time(options, LinearKernel::kGemmSm90, t).microseconds;
      }
      const double over = ours.microseconds - floor;
      const bool missed = t <= 16 && (over > 4 || ours.microseconds > theirs[i]);
      num_missed += missed;
      std::printf("%-8.8s %-8s %3d %7.1f %7.1f %7.1f %5.1f %9.2f %7.1f  %4.1f %%%s\n",
                  i == 0 ? shape.model : "", i == 0 ? shape.op : "", t, floor, ours.microseconds,
                  theirs[i], over, theirs[i] / ours.microseconds, gemm, ours.spread * 100,
                  missed ? "  *" : "");
      std::fflush(stdout);
      Result("decode_linear")
          .add("model", shape.model)
          .add("op", shape.op)
          .add("rows", shape.all_rows())
          .add("cols", shape.cols)
          .add("m", t)
          .add("floor_us", floor)
          .add("ours_us", ours.microseconds)
          .add("cublas_us", theirs[i])
          .add("gemm_us", gemm)
          .add("spread", ours.spread)
          .add("kernel", name_of(kernel))
          .add("ctas", ours.grid.x * ours.grid.y)
          .add("threads", ours.threads)
          .add("registers", ours.registers)
          .add("ctas_per_sm", ours.ctas_per_multiprocessor)
          .write();
    }
  }
  std::printf("* over the floor by more than 4 us, or slower than cuBLAS: %d of M <= 16\n",
              num_missed);
}

void bench_prefill_linear(Stream& stream, const Options& options, const Ceilings& ceilings,
                          Cublas* cublas) {
  const DeviceTraits traits{stream.code, false};
  const int t = kPrefillTokens;
  const LinearKernel kernel = choose_linear(traits, DType::kF16, t, kPrefillTokens);
  Options few = options;
  few.replays = std::min(options.replays, 10);
  std::printf("\nprefill linear, M = %d   floor      ours    cuBLAS  TFLOP/s  x cuBLAS (%s)\n", t,
              name_of(kernel));
  for (const Shape& shape : model_shapes()) {
    if (std::string(shape.model) != "Llama-2-13B" || std::string(shape.op) == "lm_head" ||
        !is_chosen(options, "prefill_linear", shape)) {
      continue;
    }
    double theirs = NAN;
    if (cublas != nullptr) {
      attempt("cuBLAS", [&] { theirs = time_cublas(stream, few, *cublas, shape, {t})[0]; });
    }
    Case linear(stream, shape, t);
    linear.set_tokens(t);
    linear.compare(kernel, t, name_of(kernel));
    const Timing ours = linear.time(few, kernel, t);
    const double floor = shape.flops(t) / ceilings.fp16_flops * 1e6;
    std::printf("%-8.8s %-12s %9.1f %9.1f %9.1f %8.0f %9.2f\n", shape.model, shape.op, floor,
                ours.microseconds, theirs, shape.flops(t) / ours.microseconds * 1e-6,
                theirs / ours.microseconds);
    std::fflush(stdout);
    Result("prefill_linear")
        .add("model", shape.model)
        .add("op", shape.op)
        .add("m", t)
        .add("floor_us", floor)
        .add("ours_us", ours.microseconds)
        .add("cublas_us", theirs)
        .add("spread", ours.spread)
        .add("kernel", name_of(kernel))
        .add("registers", ours.registers)
        .add("ctas_per_sm", ours.ctas_per_multiprocessor)
        .write();
  }
}

}  // namespace hearth::bench

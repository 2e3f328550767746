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

#include "../../tests/gpu/linear_kernels.h"
#include "backend/cuda/dispatch.h"
#include "backend/cuda/strip_words.h"
#include "backend/page_table.h"
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
__global__ void fill_strips(__half* to, int32_t num_rows, int32_t cols, uint32_t seed) {
  const size_t count = size_t(num_rows) * cols;  // whole strips, cols a multiple of 64
  const int32_t slabs = cols / kSlabCols;
  for (size_t i = blockIdx.x * size_t(blockDim.x) + threadIdx.x; i < count;
       i += size_t(gridDim.x) * blockDim.x) {
    const size_t slab = i / 1024;
    const FragmentPair pair(int(i % 1024 / 2));
    const uint64_t r = slab / slabs * kStripRows + pair.row;
    const uint64_t c = slab % slabs * kSlabCols + pair.col + i % 2;
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

/// How many copies of a shape's weights no cache holds.
int count_copies(const Shape& shape) {
  return int(std::clamp(kRotateBytes / shape.bytes() + 1, 3.0, 512.0));
}

/// Copies of a shape's weights, packed for our kernels, in pages behind one another.
class Weights {
 public:
  Weights(CudaDevice& device, const Shape& shape)
      : copies_(count_copies(shape)), table_(device, copies_ * count_pages(shape)),
        memory_(device.allocate(copies_ * size_t(shape.bytes()))) {
    std::vector<std::byte*> pages;
    std::byte* to = memory_.data();
    for (int copy = 0; copy < copies_; ++copy) {
      for (size_t output = 0; output < shape.rows.size(); ++output) {
        const int32_t rows = shape.rows[output];
        fill_strips<<<kFillGrid, kFillBlock, 0, device.stream().handle>>>(
            reinterpret_cast<__half*>(to), rows, shape.cols, weight_seed(copy, output));
        WeightView view;
        view.layout = strip_layout(SourceFormat::kF16, rows, shape.cols);
        view.pages = table_.entry(uint32_t(pages.size()));
        view.tiles_per_page = strips_per_page(shape);
        view.first_tiles = std::min(view.tiles_per_page, view.layout.num_tiles());
        views_.push_back(view);
        for (int32_t strip = 0; strip < view.layout.num_tiles(); strip += view.tiles_per_page) {
          pages.push_back(to + strip * view.layout.tile_bytes);
        }
        to += view.layout.num_tiles() * view.layout.tile_bytes;
      }
    }
    device.wait(table_.set(0, pages));
    finish(device, "Cannot fill weights");
  }

  int copies() const { return copies_; }
  const WeightView& view(int copy, size_t output, size_t outputs) const {
    return views_[copy * outputs + output];
  }

 private:
  static int32_t strips_per_page(const Shape& shape) {
    return int32_t(kPageBytes / (size_t(shape.cols) * 2 * kStripRows));
  }
  /// Of all weights of one copy.
  static uint32_t count_pages(const Shape& shape) {
    uint32_t pages = 0;
    for (const int32_t rows : shape.rows) {
      const int32_t strips = rows / kStripRows, per_page = strips_per_page(shape);
      pages += (strips + per_page - 1) / per_page;
    }
    return pages;
  }

  int copies_;
  PageTable table_;
  Memory memory_;
  std::vector<WeightView> views_;
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
  Case(CudaDevice& device, const Shape& shape, int most_tokens)
      : device_(device), shape_(shape), weights_(device, shape),
        x_(device.allocate(operand_bytes(most_tokens, shape.cols))),
        bias_(device.allocate(shape.all_rows() * sizeof(float))),
        residual_(device.allocate(size_t(most_tokens) * shape.rows[0] * sizeof(float))),
        out_(device.allocate(size_t(round_up(most_tokens, 8)) * shape.out_rows() * sizeof(float))) {
    const cudaStream_t stream = device.stream().handle;
    float* bias = bias_.as<float>();
    for (size_t i = 0; i < shape.rows.size(); ++i) {
      fill_floats<<<kFillGrid, kFillBlock, 0, stream>>>(bias, shape.rows[i],
                                                        uint32_t(kBiasSeed + i));
      bias += shape.rows[i];
    }
    fill_floats<<<kFillGrid, kFillBlock, 0, stream>>>(
        residual_.as<float>(), size_t(most_tokens) * shape.rows[0], kResidualSeed);
  }

  int copies() const { return weights_.copies(); }

  LinearOp args(int tokens, int copy) const {
    LinearOp args;
    args.x = x_.data();
    args.rows = tokens;
    args.cols = shape_.cols;
    args.num_outputs = int(shape_.rows.size());
    args.has_activation = args.out_is_operand = shape_.is_operand();
    args.activation = shape_.kind == Shape::kGated ? Activation::kSilu : Activation::kRelu;
    float* out = out_.as<float>();
    const float* bias = bias_.as<float>();
    for (int i = 0; i < args.num_outputs; ++i) {
      const WeightView& weight = weights_.view(copy, i, shape_.rows.size());
      if (args.num_outputs == 1 && !args.has_activation) args.guess = guess_pages(weight);
      args.outputs[i].weight = WeightRef(weight);
      args.outputs[i].bias = shape_.bias ? bias : nullptr;
      args.outputs[i].residual = shape_.kind == Shape::kResidual ? residual_.as<float>() : nullptr;
      args.outputs[i].out = out;
      out += shape_.is_operand() ? 0 : size_t(tokens) * shape_.rows[i];
      bias += shape_.rows[i];
    }
    return args;
  }

  void set_tokens(int tokens) {
    fill(device_, x_, 0xff);
    fill_operand<<<kFillGrid, kFillBlock, 0, device_.stream().handle>>>(x_.as<__half>(), tokens,
                                                                        shape_.cols, kInputSeed);
    finish(device_, "Cannot fill the input");
  }

  /// Runs it once into poisoned memory and compares.
  void compare(const LinearChoice& choice, int tokens) {
    const char* const what = kernel_name(choice.kernel);
    const int copy = copies() - 1;
    const Memory comparison = zeroed(device_, sizeof(Comparison));
    fill(device_, out_, 0xff);
    note(format("linear %s %s %s, %d tokens", shape_.model, shape_.op, what, tokens));
    run(choice, tokens, copy);
    Reference op = {};
    op.tokens = tokens;
    op.step = tokens <= 64 ? 1 : tokens / 16 - 1;
    op.num_outputs = int32_t(shape_.rows.size());
    op.cols = shape_.cols;
    op.kind = shape_.kind;
    op.bias = shape_.bias;
    const LinearOp args = this->args(tokens, copy);
    for (size_t i = 0; i < shape_.rows.size(); ++i) {
      op.rows[i] = shape_.rows[i];
      op.seeds[i] = weight_seed(copy, i);
      op.out[i] = static_cast<const float*>(args.outputs[i].out);
    }
    op.operand = out_.as<__half>();
    const dim3 grid((shape_.out_rows() + 127) / 128, (tokens + op.step - 1) / op.step);
    compare_linear<<<grid, 128, 0, device_.stream().handle>>>(op, comparison.as<Comparison>());
    finish(device_, what);
    const Comparison result = download<Comparison>(device_, comparison)[0];
    const double bound = shape_.is_operand() ? 1e-3 : 1e-4;
    if (!result.is_within(bound, 20 * bound)) {
      fail("%s %s %s, %d tokens: error %.2g, worst %.2g deviations, %llu of %llu not finite",
           shape_.model, shape_.op, what, tokens, result.relative(), result.worst_relative(),
           result.num_wrong, result.count);
    }
  }

  void run(const LinearChoice& choice, int tokens, int copy) const {
    run_linear(device_.stream(), choice, DType::kF16, args(tokens, copy));
  }

  Timing time(const Options& options, const LinearChoice& choice, int tokens) const {
    return time_graph(device_.stream(), options, std::max(copies(), 8),
                      [&](int i) { run(choice, tokens, i % copies()); });
  }

 private:
  CudaDevice& device_;
  const Shape& shape_;
  Weights weights_;
  Memory x_, bias_, residual_, out_;
};

/// What cuBLAS takes for a shape, by number of tokens. Its weights are one, and no epilogue.
std::vector<double> time_cublas(CudaDevice& device, const Options& options, Cublas& cublas,
                                const Shape& shape, const std::vector<int>& tokens) {
  const int copies = count_copies(shape);
  const size_t copy_bytes = size_t(shape.bytes()), most = size_t(tokens.back());
  const Memory weights = device.allocate(copies * copy_bytes);
  const Memory x = device.allocate(most * shape.cols * 2);
  const Memory out = device.allocate(most * shape.all_rows() * 2);
  const auto fill_random = [&](std::byte* to, size_t bytes, uint32_t seed, float scale) {
    fill_rows<<<kFillGrid, kFillBlock, 0, device.stream().handle>>>(reinterpret_cast<__half*>(to),
                                                                    bytes / 2, seed, scale);
  };
  for (int copy = 0; copy < copies; ++copy) {
    fill_random(weights.data() + copy * copy_bytes, copy_bytes, weight_seed(copy, 0), kWeightScale);
  }
  fill_random(x.data(), x.bytes(), kInputSeed, 1);
  std::vector<double> times;
  for (const int t : tokens) {
    const auto multiply = [&](int i) {
      cublas.gemm(t, shape.all_rows(), shape.cols, x.data(),
                  weights.data() + i % copies * copy_bytes, out.data());
    };
    times.push_back(
        time_graph(device.stream(), options, std::max(copies, 8), multiply).microseconds);
  }
  return times;
}

bool is_chosen(const Options& options, const char* workload, const Shape& shape) {
  const std::string name = std::string(workload) + " " + shape.model + " " + shape.op;
  return name.find(options.filter) != std::string::npos;
}

}  // namespace

void bench_decode_linear(CudaDevice& device, const Options& options, const Ceilings& ceilings,
                         Cublas* cublas) {
  std::vector<int> tokens = {1, 2, 4, 8, 12, 16, 32, 64};
  if (options.quick) tokens = {1, 12, 64};
  DispatchTable table({device.code(), false});
  int num_missed = 0;
  std::printf("\ndecode linear      M   floor    ours  cuBLAS  over   x cuBLAS  gemm    spread\n");
  for (const Shape& shape : model_shapes()) {
    if (!is_chosen(options, "decode_linear", shape)) continue;
    std::vector<double> theirs(tokens.size(), NAN);
    if (cublas != nullptr) {
      attempt("cuBLAS", [&] { theirs = time_cublas(device, options, *cublas, shape, tokens); });
    }
    Case linear(device, shape, tokens.back());
    for (size_t i = 0; i < tokens.size(); ++i) {
      const int t = tokens[i];
      const double floor = shape.all_bytes(t) / ceilings.read * 1e6;
      const LinearChoice& choice = table.choose(DType::kF16, t, shape.all_rows(), shape.cols);
      linear.set_tokens(t);
      linear.compare(choice, t);
      const Timing ours = linear.time(options, choice, t);
      // Where the two kernels meet decides kMaxStreamTokens.
      double gemm = NAN;
      if (t >= 32 && device.stream().is_hopper() && !is_listed(options.skip, "gemm_sm90")) {
        LinearChoice tiles;
        tiles.kernel = LinearKernel::kGemmSm90;
        linear.compare(tiles, t);
        gemm = linear.time(options, tiles, t).microseconds;
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
          .add("kernel", kernel_name(choice.kernel))
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

void bench_prefill_linear(CudaDevice& device, const Options& options, const Ceilings& ceilings,
                          Cublas* cublas) {
  DispatchTable table({device.code(), false});
  const int t = kPrefillTokens;
  Options few = options;
  few.replays = std::min(options.replays, 10);
  std::printf("\nprefill linear, M = %d   floor      ours    cuBLAS  TFLOP/s  x cuBLAS\n", t);
  for (const Shape& shape : model_shapes()) {
    if (std::string(shape.model) != "Llama-2-13B" || std::string(shape.op) == "lm_head" ||
        !is_chosen(options, "prefill_linear", shape)) {
      continue;
    }
    double theirs = NAN;
    if (cublas != nullptr) {
      attempt("cuBLAS", [&] { theirs = time_cublas(device, few, *cublas, shape, {t})[0]; });
    }
    Case linear(device, shape, t);
    linear.set_tokens(t);
    const LinearChoice& choice = table.choose(DType::kF16, t, shape.all_rows(), shape.cols);
    linear.compare(choice, t);
    const Timing ours = linear.time(few, choice, t);
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
        .add("kernel", kernel_name(choice.kernel))
        .add("registers", ours.registers)
        .add("ctas_per_sm", ours.ctas_per_multiprocessor)
        .write();
  }
}

}  // namespace hearth::bench

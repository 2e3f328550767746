// Attention over blocks: decode against the time that reading K and V takes, prefill in TFLOP/s.
//
//   Block tables are shuffled. Launches alternate between the layers of one KV cache, which holds
//   more than any cache. Results are compared with float64 first. Peers (cuDNN, FlashAttention) are
//   PyTorch's, see peers.py.
#include <cuda_fp16.h>

#include "../../tests/gpu/step.h"
#include "backend/cost.h"
#include "backend/cuda/attention.h"
#include "backend/cuda/dispatch.h"
#include "bench.cuh"

namespace hearth::bench {
namespace {

using namespace hearth::cuda;

constexpr float kQueryScale = 4;  // so that some tokens matter more than others
constexpr uint32_t kQuerySeed = 1, kCacheSeed = 2;

struct Shape {
  const char* name;
  int32_t sequences, queries, context, num_heads, num_kv_heads, head_dim;
  int32_t block_tokens = 16;

  int32_t tokens() const { return sequences * queries; }
};

__global__ void fill_halves(__half* to, size_t count) {
  for (size_t i = blockIdx.x * size_t(blockDim.x) + threadIdx.x; i < count;
       i += size_t(gridDim.x) * blockDim.x) {
    to[i] = __float2half_rn(random_value(kCacheSeed, i));
  }
}

__global__ void fill_queries(float* to, size_t count) {
  for (size_t i = blockIdx.x * size_t(blockDim.x) + threadIdx.x; i < count;
       i += size_t(gridDim.x) * blockDim.x) {
    to[i] = random_value(kQuerySeed, i) * kQueryScale;
  }
}

/// A CTA makes one head of token blockIdx.x * step in float64 and compares.
__global__ void compare_attention(const __grid_constant__ AttentionArgs args, int32_t queries,
                                  int32_t step, Comparison* result) {
  extern __shared__ double weights[];  // of a token of the context
  __shared__ double total;
  const KvSpec& spec = args.kv.spec;
  const int32_t t = blockIdx.x * step, head = blockIdx.y, sequence = t / queries;
  const int32_t context = args.step.context_len[sequence] - queries + t % queries + 1;
  const int32_t group = args.spec.num_heads / spec.num_kv_heads;
  const float* q = args.q + (size_t(t) * args.spec.num_heads + head) * spec.head_dim;
  const auto element = [&](bool is_value, int32_t token, int32_t dim) {
    const int32_t block = args.step.blocks_of(sequence)[token / spec.block_tokens];
    const std::byte* cell = cell_address(args.kv, args.spec.layer, block, is_value, head / group);
    const int32_t at = kv_cell_element(spec, token % spec.block_tokens, dim);
    return double(__half2float(reinterpret_cast<const __half*>(cell)[at]));
  };
  for (int32_t token = threadIdx.x; token < context; token += blockDim.x) {
    double score = 0;
    for (int32_t dim = 0; dim < spec.head_dim; ++dim) score += q[dim] * element(false, token, dim);
    weights[token] = exp(score * args.spec.scale);  // small scores: no maximum needed
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    total = 0;
    for (int32_t token = 0; token < context; ++token) total += weights[token];
  }
  __syncthreads();
  for (int32_t dim = threadIdx.x; dim < spec.head_dim; dim += blockDim.x) {
    double sum = 0;
    for (int32_t token = 0; token < context; ++token) {
      sum += weights[token] * element(true, token, dim);
    }
    const size_t at =
        operand_element(t, head * spec.head_dim + dim, round_up(args.step.num_tokens, 8));
    compare(result, __half2float(static_cast<const __half*>(args.out)[at]), sum / total);
  }
}

/// A step of one shape, with everything that a launch needs.
class Case {
 public:
  Case(CudaDevice& device, const Shape& shape, int32_t layers)
      : device_(device), shape_(shape),
        batch_(std::vector<Sequence>(shape.sequences, {shape.context, shape.queries}),
               shape.block_tokens, 3),
        step_(device, batch_) {
    KvSpec spec;
    spec.num_layers = layers;
    spec.num_kv_heads = shape.num_kv_heads;
    spec.head_dim = shape.head_dim;
    spec.block_tokens = shape.block_tokens;
    AttentionSpec attention;
    attention.num_heads = shape.num_heads;
    attention.scale = 1 / std::sqrt(float(shape.head_dim));
    cost_ = attention_cost(batch_.input(), spec, attention);

    const cudaStream_t stream = device.stream().handle;
    cache_ = device.allocate(batch_.num_blocks * spec.block_bytes());
    fill_halves<<<2048, 256, 0, stream>>>(cache_.as<__half>(), cache_.bytes() / 2);
    const size_t q_size = size_t(shape.tokens()) * shape.num_heads * shape.head_dim;
    q_ = device.allocate(q_size * sizeof(float));
    fill_queries<<<2048, 256, 0, stream>>>(q_.as<float>(), q_size);
    out_ = device.allocate(operand_bytes(shape.tokens(), shape.num_heads * shape.head_dim));
    partials_ = poisoned(device, sizeof(float) * partials_floats(step_.view.max_decodes,
                                                                 shape.num_heads, shape.head_dim));
    arrivals_ = zeroed(device, size_t(shape.sequences) * shape.num_heads * sizeof(int32_t));
    args_.step = step_.view;
    args_.kv = {spec, batch_.num_blocks, cache_.data()};
    args_.spec = attention;
    args_.q = q_.as<float>();
    args_.out = out_.data();
    args_.out_is_operand = true;
    args_.partials = partials_.as<float>();
    args_.arrivals = arrivals_.as<int32_t>();
    finish(device, "Cannot fill the inputs");
  }

  const Cost& cost() const { return cost_; }
  const KvSpec& kv() const { return args_.kv.spec; }

  void compare(const char* what, const std::function<void(const AttentionArgs&)>& run) {
    const Memory comparison = zeroed(device_, sizeof(Comparison));
    fill(device_, out_, 0xff);
    AttentionArgs args = args_;
    args.spec.layer = kv().num_layers - 1;
    run(args);
    const int32_t step = shape_.queries == 1 ? 1 : 129;
    const dim3 grid((shape_.tokens() + step - 1) / step, shape_.num_heads);
    const size_t shared = size_t(shape_.context) * sizeof(double);
    allow_shared_memory(compare_attention, shared);
    compare_attention<<<grid, 128, shared, device_.stream().handle>>>(args, shape_.queries, step,
                                                                      comparison.as<Comparison>());
    check(cudaGetLastError(), what);
    finish(device_, what);
    const Comparison result = download<Comparison>(device_, comparison)[0];
    if (!result.is_within(2e-3, 4e-2)) {
      fail("%s %s: error %.2g, worst %.2g deviations, %llu of %llu not finite", shape_.name, what,
           result.relative(), result.worst_relative(), result.num_wrong, result.count);
    }
  }

  Timing time(const Options& options, const std::function<void(const AttentionArgs&)>& run) const {
    const int count = std::max(6, kv().num_layers);
    return time_graph(device_.stream(), options, count, [&](int i) {
      AttentionArgs args = args_;
      args.spec.layer = i % kv().num_layers;
      run(args);
    });
  }

 private:
  CudaDevice& device_;
  const Shape& shape_;
  const Batch batch_;
  const DeviceStep step_;
  Memory cache_, q_, out_, partials_, arrivals_;
  AttentionArgs args_;
  Cost cost_;
};

/// Layers that make the KV cache too large to be cached.
int32_t layers_of(const Shape& shape) {
  const double bytes = 4.0 * shape.sequences * shape.context * shape.num_kv_heads * shape.head_dim;
  return int32_t(std::clamp(320e6 / bytes + 1, 2.0, 400.0));
}

void report(const Shape& shape, const char* kernel, const Timing& ours, const Cost& cost,
            const Ceilings& ceilings) {
  const bool is_decode = shape.queries == 1;
  const double floor =
      is_decode ? cost.bytes / ceilings.read * 1e6 : cost.flops / ceilings.fp16_flops * 1e6;
  const double rate = (is_decode ? cost.bytes : cost.flops) / ours.microseconds * 1e-6;
  const double occupancy = ours.ctas_per_multiprocessor * ours.threads / 2048.0;
  std::printf(
      "%-24s %-14s %8.1f %8.1f  %8.3f %s %7.0f %%  %3d registers, %d CTAs of %d a "
      "multiprocessor = %.0f %%, spread %.1f %%\n",
      shape.name, kernel, floor, ours.microseconds, rate, is_decode ? "TB/s   " : "TFLOP/s",
      floor / ours.microseconds * 100, ours.registers, ours.ctas_per_multiprocessor, ours.threads,
      occupancy * 100, ours.spread * 100);
  std::fflush(stdout);
  Result(is_decode ? "attention_decode" : "attention_prefill")
      .add("shape", shape.name)
      .add("kernel", kernel)
      .add("floor_us", floor)
      .add("ours_us", ours.microseconds)
      .add("rate", rate * 1e12)
      .add("spread", ours.spread)
      .add("registers", ours.registers)
      .add("threads", ours.threads)
      .add("shared_bytes", double(ours.shared_bytes))
      .add("ctas_per_sm", ours.ctas_per_multiprocessor)
      .add("occupancy", occupancy)
      .write();
}

}  // namespace

void bench_attention(CudaDevice& device, const Options& options, const Ceilings& ceilings) {
  std::printf(
      "\nattention                kernel            floor     ours      rate          of "
      "ceiling\n");
  const Shape shapes[] = {
      {"12x4096 40/40x128", 12, 1, 4096, 40, 40, 128},
      {"32x4096 32/8x128", 32, 1, 4096, 32, 8, 128},
      {"12x4096 40/40 block 64", 12, 1, 4096, 40, 40, 128, 64},
      {"32x4096 32/8 block 64", 32, 1, 4096, 32, 8, 128, 64},
      {"1x3968 40/40x128", 1, 1, 3968, 40, 40, 128},
      {"1x128 40/40x128", 1, 1, 128, 40, 40, 128},
      {"1x2048 9/3x64", 1, 1, 2048, 9, 3, 64},
      {"1x4096 40/40x128", 1, 4096, 4096, 40, 40, 128},
      {"1x4096 32/8x128", 1, 4096, 4096, 32, 8, 128},
      {"4x512 of 4096 40/40x128", 4, 512, 4096, 40, 40, 128},
  };
  const DeviceTraits traits{device.code(), false};
  for (const Shape& shape : shapes) {
    const bool is_decode = shape.queries == 1;
    const std::string name =
        std::string(is_decode ? "attention_decode " : "attention_prefill ") + shape.name;
    if (name.find(options.filter) == std::string::npos) continue;
    Case attention(device, shape, layers_of(shape));
    const auto run = [&](const char* kernel, auto function) {
      if (is_listed(options.skip, kernel)) return;
      note(name + " " + kernel);
      const auto launch_one = [&](const AttentionArgs& args) { function(device.stream(), args); };
      attention.compare(kernel, launch_one);
      Options few = options;
      if (!is_decode) few.replays = std::min(few.replays, 12);
      report(shape, kernel, attention.time(few, launch_one), attention.cost(), ceilings);
    };
    if (is_decode) {
      run("decode", attention_decode);
    } else if (choose_attention(traits, attention.kv()) == AttentionKernel::kSm90) {
      run("prefill_sm90", attention_prefill_sm90);
      if (!options.quick) run("prefill_sm80", attention_prefill_sm80);
    } else {
      run("prefill_sm80", attention_prefill_sm80);
    }
  }
}

}  // namespace hearth::bench

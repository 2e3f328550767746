// Attention over blocks: decode against the time that reading K and V takes, prefill in TFLOP/s.
//
//   Block tables are shuffled. Launches alternate between the layers of one KV cache, which holds
//   more than any cache. Results are compared with float64 first. Peers (cuDNN, FlashAttention) are
//   PyTorch's, see peers.py.
#include <cuda_fp16.h>

#include <numeric>
#include <random>

#include "backend/cost.h"
#include "backend/cuda/attention.h"
#include "backend/cuda/attention_plan.h"
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
  int32_t blocks() const { return (context + block_tokens - 1) / block_tokens; }  // of a sequence
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
    const size_t block =
        args.step.block_table[sequence * args.step.max_blocks + token / spec.block_tokens];
    const size_t cell =
        ((block * spec.num_layers + args.spec.layer) * 2 + is_value) * spec.num_kv_heads +
        head / group;
    const __half* data = reinterpret_cast<const __half*>(args.kv.data + cell * spec.cell_bytes());
    return double(__half2float(data[kv_cell_element(spec, token % spec.block_tokens, dim)]));
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

template <class T>
T* upload(std::vector<DeviceBuffer>& owned, const std::vector<T>& values) {
  owned.emplace_back(std::max<size_t>(values.size(), 1) * sizeof(T));
  check(cudaMemcpy(owned.back().data(), values.data(), values.size() * sizeof(T),
                   cudaMemcpyHostToDevice),
        "Cannot copy to the device");
  return owned.back().data<T>();
}

/// A step of one shape, with everything that a launch needs.
class Case {
 public:
  Case(Stream& stream, const Shape& shape, int32_t layers) : stream_(stream), shape_(shape) {
    const int32_t blocks = shape.blocks(), tokens = shape.tokens();
    KvSpec spec;
    spec.num_layers = layers;
    spec.num_kv_heads = shape.num_kv_heads;
    spec.head_dim = shape.head_dim;
    spec.block_tokens = shape.block_tokens;
    const int32_t num_blocks = shape.sequences * blocks + 7;
    cache_ = DeviceBuffer(num_blocks * spec.block_bytes());
    fill_halves<<<2048, 256, 0, stream.handle>>>(cache_.data<__half>(), cache_.bytes() / 2);

    std::vector<int32_t> table(num_blocks);
    std::iota(table.begin(), table.end(), 0);
    std::shuffle(table.begin(), table.end(), std::mt19937(3));
    table.resize(size_t(shape.sequences) * blocks);
    std::vector<int32_t> query_start(shape.sequences + 1), context_len(shape.sequences);
    std::vector<int32_t> positions, slots;
    for (int32_t s = 0; s < shape.sequences; ++s) {
      query_start[s + 1] = query_start[s] + shape.queries;
      context_len[s] = shape.context;
      for (int32_t i = 0; i < shape.queries; ++i) {
        const int32_t position = shape.context - shape.queries + i;
        positions.push_back(position);
        slots.push_back(table[s * blocks + position / shape.block_tokens] * shape.block_tokens +
                        position % shape.block_tokens);
      }
    }
    StepInput input;
    const std::vector<int32_t> ids(tokens, 0);
    input.token_ids = ids;
    input.positions = positions;
    input.kv_slots = slots;
    input.query_start = query_start;
    input.context_len = context_len;
    input.block_table = table;
    input.max_blocks = blocks;
    AttentionPlan plan;
    plan.make(input);

    AttentionSpec attention;
    attention.num_heads = shape.num_heads;
    attention.scale = 1 / std::sqrt(float(shape.head_dim));
    cost_ = attention_cost(input, spec, attention);

    const size_t q_size = size_t(tokens) * shape.num_heads * shape.head_dim;
    StepView& step = args_.step;
    step.num_tokens = tokens;
    step.num_sequences = shape.sequences;
    step.max_blocks = blocks;
    step.token_ids = upload(owned_, ids);
    step.positions = upload(owned_, positions);
    step.kv_slots = upload(owned_, slots);
    step.query_start = upload(owned_, query_start);
    step.context_len = upload(owned_, context_len);
    step.block_table = upload(owned_, table);
    step.decodes = upload(owned_, plan.decodes);
    step.num_decodes = upload(owned_, std::vector<int32_t>{int32_t(plan.decodes.size())});
    step.max_decodes = int32_t(plan.decodes.size());
    step.prefills = upload(owned_, plan.prefills);
    step.num_prefills = int32_t(plan.prefills.size());
    args_.kv = {spec, num_blocks, cache_.data()};
    args_.spec = attention;
    q_ = DeviceBuffer(q_size * sizeof(float));
    fill_queries<<<2048, 256, 0, stream.handle>>>(q_.data<float>(), q_size);
    out_ = DeviceBuffer(operand_bytes(tokens, shape.num_heads * shape.head_dim));
    partials_ = DeviceBuffer(
        sizeof(float) *
        std::max<size_t>(1, partials_floats(step.max_decodes, shape.num_heads, shape.head_dim)));
    poison(partials_.data(), partials_.bytes());
    arrivals_ = zeroed_buffer(size_t(shape.sequences) * shape.num_heads * sizeof(int32_t));
    args_.q = q_.data<float>();
    args_.out = out_.data();
    args_.out_is_operand = true;
    args_.partials = partials_.data<float>();
    args_.arrivals = arrivals_.data<int32_t>();
    check(cudaStreamSynchronize(stream.handle), "Cannot fill the inputs");
  }

  const Cost& cost() const { return cost_; }
  const KvSpec& kv() const { return args_.kv.spec; }

  void compare(const char* what, const std::function<void(const AttentionArgs&)>& run) {
    DeviceBuffer comparison(sizeof(Comparison));
    check(cudaMemset(comparison.data(), 0, sizeof(Comparison)), "Cannot fill device memory");
    poison(out_.data(), out_.bytes());
    AttentionArgs args = args_;
    args.spec.layer = kv().num_layers - 1;
    run(args);
    const int32_t step = shape_.queries == 1 ? 1 : 129;
    const dim3 grid((shape_.tokens() + step - 1) / step, shape_.num_heads);
    const size_t shared = size_t(shape_.context) * sizeof(double);
    allow_shared_memory(compare_attention, shared);
    compare_attention<<<grid, 128, shared, stream_.handle>>>(args, shape_.queries, step,
                                                             comparison.data<Comparison>());
    check(cudaGetLastError(), what);
    Comparison result;
    check(cudaStreamSynchronize(stream_.handle), what);
    check(cudaMemcpy(&result, comparison.data(), sizeof(result), cudaMemcpyDeviceToHost), what);
    if (!result.is_within(2e-3, 4e-2)) {
      fail("%s %s: error %.2g, worst %.2g deviations, %llu of %llu not finite", shape_.name, what,
           result.relative(), result.worst_relative(), result.num_wrong, result.count);
    }
  }

  Timing time(const Options& options, const std::function<void(const AttentionArgs&)>& run) const {
    const int count = std::max(6, kv().num_layers);
    return time_graph(stream_, options, count, [&](int i) {
      AttentionArgs args = args_;
      args.spec.layer = i % kv().num_layers;
      run(args);
    });
  }

 private:
  Stream& stream_;
  const Shape& shape_;
  DeviceBuffer cache_, q_, out_, partials_, arrivals_;
  std::vector<DeviceBuffer> owned_;
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

void bench_attention(Stream& stream, const Options& options, const Ceilings& ceilings) {
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
  const DeviceTraits traits{stream.code, false};
  for (const Shape& shape : shapes) {
    const bool is_decode = shape.queries == 1;
    const std::string name =
        std::string(is_decode ? "attention_decode " : "attention_prefill ") + shape.name;
    if (name.find(options.filter) == std::string::npos) continue;
    Case attention(stream, shape, layers_of(shape));
    const auto run = [&](const char* kernel, auto function) {
      if (is_skipped(options, kernel)) return;
      note(name + " " + kernel);
      const auto launch_one = [&](const AttentionArgs& args) { function(stream, args); };
      attention.compare(kernel, launch_one);
      Options few = options;
      if (!is_decode) few.replays = std::min(few.replays, 12);
      report(shape, kernel, attention.time(few, launch_one), attention.cost(), ceilings);
    };
    if (is_decode) {
      run("decode", attention_decode);
    } else if (choose_prefill(traits, attention.kv()) == AttentionKernel::kSm90) {
      run("prefill_sm90", attention_prefill_sm90);
      if (!options.quick) run("prefill_sm80", attention_prefill_sm80);
    } else {
      run("prefill_sm80", attention_prefill_sm80);
    }
  }
}

}  // namespace hearth::bench

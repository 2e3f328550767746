// q and the KV cache of the kernel that rotates and writes them itself, against those of two
// kernels: the same bits, and nothing else written.
#include "backend/cuda/rows.h"
#include "gpu_tests.h"
#include "inputs.h"
#include "linear_kernels.h"
#include "operand.h"
#include "step.h"
#include "weights.h"

namespace hearth::gpu_tests {
namespace {

using namespace hearth::cuda;

constexpr int32_t kCols = 160;  // an odd number of 64 columns
constexpr int32_t kLayer = 1, kBlockTokens = 16;

struct Heads {
  int32_t num_heads, num_kv_heads, head_dim;
  bool has_rope, has_bias;
};

Memory upload_random(CudaDevice& device, size_t count, uint32_t seed) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = random_value(seed, i);
  return upload(device, values);
}

/// A batch whose tokens' K and V go to scattered slots; one is padding.
Batch scattered_batch(int tokens) {
  const Sequence all{tokens, tokens};
  Batch batch({&all, 1}, kBlockTokens, 1);
  for (int t = 0; t < tokens; ++t) {
    batch.kv_slots[t] = (t * 37 + 5) % (batch.num_blocks * kBlockTokens);
  }
  if (tokens > 1) batch.kv_slots[tokens / 2] = -1;
  return batch;
}

/// q, K and V of one set of heads.
class Case {
 public:
  Case(CudaDevice& device, SourceFormat format, const Heads& heads, uint32_t seed)
      : device_(device), heads_(heads), dtype_(DType(format)), half_(half_of(dtype_)), seed_(seed) {
    const int32_t num_heads[] = {heads.num_heads, heads.num_kv_heads, heads.num_kv_heads};
    for (int i = 0; i < 3; ++i) {
      const FileWeight weight(format, num_heads[i] * heads.head_dim, kCols, seed + 10 * i);
      weights_.emplace_back(device, weight, 1, std::max(2, weight.num_strips() / 64),
                            PagedWeight::Order::kShuffled, seed);
      biases_.push_back(upload_random(device, weight.rows(), seed + 40 + i));
    }
  }

  void check(int tokens) const {
    const std::string what = format("%s qkv, %d heads of %d, %d tokens", dtype_name(dtype_),
                                    heads_.num_heads, heads_.head_dim, tokens);
    note(what);
    const Inputs inputs(*this, tokens);
    const Results one = run(inputs, true), two = run(inputs, false);
    if (one.q != two.q) fail("%s: q has other bits when fused", what.c_str());
    if (one.cache != two.cache) fail("%s: K or V has other bits when fused", what.c_str());
  }

 private:
  struct Inputs {
    Inputs(const Case& own, int tokens)
        : tokens(tokens), batch(scattered_batch(tokens)), step(own.device_, batch),
          operand(upload(own.device_, make_operand(own.half_, tokens, kCols,
                                                   [&](int t, int32_t c) {
                                                     return exact_half(own.seed_ + 5,
                                                                       t * kCols + c);
                                                   }))),
          raw(upload_random(own.device_, kCols, own.seed_ + 6)),
          cosines(upload_random(own.device_, tokens * own.heads_.head_dim, own.seed_ + 7)),
          sines(upload_random(own.device_, tokens * own.heads_.head_dim, own.seed_ + 8)) {}

    int tokens;
    Batch batch;
    DeviceStep step;
    Memory operand, raw, cosines, sines;
  };
  struct Results {
    std::vector<uint32_t> q;
    std::vector<std::byte> cache;
  };

  Results run(const Inputs& inputs, bool is_fused) const {
    KvCache kv;
    kv.spec = {2, heads_.num_kv_heads, heads_.head_dim, kBlockTokens, half_};
    kv.num_blocks = inputs.batch.num_blocks;
    const Memory cache = poisoned(device_, kv.num_blocks * kv.spec.block_bytes());
    kv.data = cache.data();
    const RopeAngles angles{inputs.cosines.as<float>(), inputs.sines.as<float>(),
                            heads_.has_rope ? heads_.head_dim / 2 : 0, false};
    LinearOp args;
    args.x = inputs.operand.data();
    if (norms_itself(inputs.tokens, kCols)) args.raw = inputs.raw.as<float>();
    args.rows = inputs.tokens;
    args.cols = kCols;
    args.num_outputs = 3;
    std::vector<Memory> outs;
    for (int i = 0; i < 3; ++i) {
      const int32_t rows = weights_[i].ref.rows;
      outs.push_back(poisoned(device_, size_t(inputs.tokens) * rows * sizeof(float)));
      args.outputs[i].weight = weights_[i].ref;
      args.outputs[i].bias = heads_.has_bias ? biases_[i].as<float>() : nullptr;
      args.outputs[i].out = outs[i].data();
    }
    if (is_fused) args.qkv = {kv, kLayer, inputs.step.view.kv_slots, angles};
    linear_stream_sm90(device_.stream(), {LinearKernel::kStreamSm90}, dtype_, args);
    if (!is_fused) {
      AttentionSpec attention;
      attention.layer = kLayer;
      attention.num_heads = heads_.num_heads;
      rope_and_write_kv(device_.stream(), inputs.step.view, kv, attention, {}, {}, angles,
                        outs[0].as<float>(), outs[1].as<float>(), outs[2].as<float>());
    }
    finish(device_, "qkv");
    return {download<uint32_t>(device_, outs[0]), download<std::byte>(device_, cache)};
  }

  CudaDevice& device_;
  const Heads heads_;
  const DType dtype_, half_;
  const uint32_t seed_;
  std::vector<PagedWeight> weights_;
  std::vector<Memory> biases_;
};

}  // namespace

void check_qkv(CudaDevice& device, const Options& options) {
  if (!device.stream().is_hopper() || is_listed(options.skip, "stream_sm90")) return;
  const std::vector<Heads> all_heads = {
      {9, 3, 64, true, false},   // SmolLM2-135M
      {7, 1, 128, true, true},   // Qwen2.5
      {3, 3, 96, false, true},   // no RoPE
      {45, 3, 96, true, false},  // several pairs of strips a CTA, the last CTA not full
  };
  std::vector<int> batches = {1, 2, 3, 8, 9, 17, 33, 64};
  if (options.reduced) batches = {1, 17};
  uint32_t seed = 177;
  for (const SourceFormat format : {SourceFormat::kF16, SourceFormat::kBF16, SourceFormat::kQ8_0,
                                    SourceFormat::kQ4_0, SourceFormat::kQ4_1}) {
    for (const Heads& heads : all_heads) {
      const Case one(device, format, heads, seed++);
      for (const int tokens : batches) one.check(tokens);
    }
  }
  std::printf("qkv: q, K and V of one kernel as of two, %zu batches each\n", batches.size());
  std::fflush(stdout);
}

}  // namespace hearth::gpu_tests

// Layers as data: what the forward pass makes of a LayerSpec, against the formulas in double; and
// the steps that ready a device.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <fstream>
#include <map>
#include <set>
#include <utility>

#include "check.h"
#include "model/transformer.h"
#include "model/warm_up.h"
#include "tiny_model.h"

namespace hearth::test {
namespace {

using Row = std::vector<double>;
using Rows = std::vector<Row>;

ModelSpec spec_of(const TinyModel& tiny) {
  return parse_spec(tiny.spec, tiny.flat.data(), tiny.flat.size());
}

// --------------------------------------------------------------------------- the formulas, double

/// TinyModel's weights as its file has them, and its forward pass written down straight.
class Reference {
 public:
  Reference(const TinyModel& tiny, const ModelSpec& spec) : spec_(spec) {
    std::ifstream file(tiny.path, std::ios::binary);
    for (const hearth_tensor& tensor : tiny.tensors) {
      std::vector<float> values(tensor.num_bytes / sizeof(float));
      file.seekg(std::streamoff(tensor.file_offset));
      file.read(reinterpret_cast<char*>(values.data()), std::streamsize(tensor.num_bytes));
      tensors_[{tensor.role, int32_t(tensor.layer)}] = Row(values.begin(), values.end());
    }
    CHECK(file.good());
  }

  /// Log probabilities, [tokens, vocab].
  Rows logprobs(const std::vector<int32_t>& tokens) const {
    const Row& embedding = tensors_.at({HEARTH_TENSOR_TOKEN_EMBEDDING, 0});
    const size_t hidden = size_t(spec_.hidden_size);
    Rows x;
    for (const int32_t token : tokens) {
      const auto from = embedding.begin() + std::ptrdiff_t(token * hidden);
      x.emplace_back(from, from + std::ptrdiff_t(hidden));
    }
    for (const LayerSpec& layer : spec_.layers) x = forward(layer, x);
    Rows result;
    for (const Row& row : x) {
      const Row normed = spec_.final_norm ? norm(row, HEARTH_TENSOR_FINAL_NORM_WEIGHT, 0) : row;
      Row logits = multiply(embedding, normed);
      double sum = 0;
      for (const double logit : logits) sum += std::exp(logit);
      for (double& logit : logits) logit -= std::log(sum);
      result.push_back(logits);
    }
    return result;
  }

 private:
  Rows forward(const LayerSpec& layer, const Rows& x) const {
    const int32_t i = layer.attention.layer;
    const bool before = layer.norm_place == NormPlace::kBefore;
    const auto maybe_norm = [&](const Rows& rows, uint32_t role, bool does) {
      Rows out = rows;
      if (!does) return out;
      for (Row& row : out) row = norm(row, role, i);
      return out;
    };
    const auto attended =
        attention(layer.attention, maybe_norm(x, HEARTH_TENSOR_ATTENTION_NORM_WEIGHT, before));
    if (layer.residual == ResidualKind::kParallel) {
      return sum({x, attended, mlp(layer, maybe_norm(x, HEARTH_TENSOR_MLP_NORM_WEIGHT, before))});
    }
    const Rows h = maybe_norm(sum({x, attended}), HEARTH_TENSOR_ATTENTION_NORM_WEIGHT, !before);
    return maybe_norm(sum({h, mlp(layer, maybe_norm(h, HEARTH_TENSOR_MLP_NORM_WEIGHT, before))}),
                      HEARTH_TENSOR_MLP_NORM_WEIGHT, !before);
  }

  Rows attention(const AttentionSpec& attention, const Rows& x) const {
    const int32_t dim = spec_.head_dim, group = spec_.num_heads / spec_.num_kv_heads;
    Rows q, k, v, out;
    for (size_t t = 0; t < x.size(); ++t) {
      q.push_back(rope(multiply(HEARTH_TENSOR_Q_WEIGHT, attention.layer, x[t]), attention, t));
      k.push_back(rope(multiply(HEARTH_TENSOR_K_WEIGHT, attention.layer, x[t]), attention, t));
      v.push_back(multiply(HEARTH_TENSOR_V_WEIGHT, attention.layer, x[t]));
    }
    for (size_t t = 0; t < x.size(); ++t) {
      Row heads(q[t].size());
      for (int32_t head = 0; head < spec_.num_heads; ++head) {
        const int32_t at = head * dim, kv_at = head / group * dim;
        double total = 0;
        const size_t first =
            attention.window > 0 ? t + 1 - std::min<size_t>(t + 1, size_t(attention.window)) : 0;
        for (size_t s = first; s <= t; ++s) {
          double score = 0;
          for (int32_t d = 0; d < dim; ++d) score += q[t][at + d] * k[s][kv_at + d];
          const double weight = std::exp(score * attention.scale);
          total += weight;
          for (int32_t d = 0; d < dim; ++d) heads[at + d] += weight * v[s][kv_at + d];
        }
        for (int32_t d = 0; d < dim; ++d) heads[at + d] /= total;
      }
      out.push_back(multiply(HEARTH_TENSOR_O_WEIGHT, attention.layer, heads));
    }
    return out;
  }

  Rows mlp(const LayerSpec& layer, const Rows& x) const {
    const int32_t i = layer.attention.layer;
    Rows out;
    for (const Row& row : x) {
      Row gate = multiply(HEARTH_TENSOR_GATE_WEIGHT, i, row);
      const Row up = multiply(HEARTH_TENSOR_UP_WEIGHT, i, row);
      for (size_t c = 0; c < gate.size(); ++c) gate[c] *= up[c] / (1 + std::exp(-gate[c]));
      out.push_back(multiply(HEARTH_TENSOR_DOWN_WEIGHT, i, gate));
    }
    return out;
  }

  Row rope(Row heads, const AttentionSpec& attention, size_t position) const {
    const RopeView& rope = spec_.ropes.at(size_t(attention.rope));
    const size_t half = rope.inv_freq.size();
    for (size_t at = 0; at < heads.size(); at += size_t(spec_.head_dim)) {
      for (size_t i = 0; i < half; ++i) {
        const double angle = double(position) * rope.inv_freq[i];
        const double a = heads[at + i], b = heads[at + half + i];
        heads[at + i] = a * std::cos(angle) - b * std::sin(angle);
        heads[at + half + i] = b * std::cos(angle) + a * std::sin(angle);
      }
    }
    return heads;
  }

  Row norm(const Row& x, uint32_t role, int32_t layer) const {
    const Row& weight = tensors_.at({role, layer});
    double squares = 0;
    for (const double value : x) squares += value * value;
    const double scale = 1 / std::sqrt(squares / double(x.size()) + spec_.norm_eps);
    Row out;
    for (size_t i = 0; i < x.size(); ++i) out.push_back(x[i] * scale * weight[i]);
    return out;
  }
  Row multiply(uint32_t role, int32_t layer, const Row& x) const {
    return multiply(tensors_.at({role, layer}), x);
  }
  static Row multiply(const Row& weight, const Row& x) {
    Row out(weight.size() / x.size());
    for (size_t i = 0; i < weight.size(); ++i) out[i / x.size()] += weight[i] * x[i % x.size()];
    return out;
  }
  static Rows sum(const std::vector<Rows>& terms) {
    Rows out = terms[0];
    for (size_t i = 1; i < terms.size(); ++i) {
      for (size_t t = 0; t < out.size(); ++t) {
        for (size_t c = 0; c < out[t].size(); ++c) out[t][c] += terms[i][t][c];
      }
    }
    return out;
  }

  const ModelSpec& spec_;
  std::map<std::pair<uint32_t, int32_t>, Row> tensors_;  // by role and layer
};

// ------------------------------------------------------------------------------ the forward pass

constexpr int32_t kBlockTokens = 16;

/// The most likely tokens behind each prefix of `tokens`, by a Transformer over TinyModel's
/// weights.
std::vector<std::vector<hearth_token_logprob>> run(const TinyModel& tiny, const ModelSpec& spec,
                                                   const std::vector<int32_t>& tokens) {
  const auto num_tokens = int32_t(tokens.size());
  CHECK(num_tokens <= kBlockTokens);
  Backend backend = make_cpu_backend({.num_threads = 2});
  Weights weights(backend, spec,
                  parse_tensors(tiny.tensors.data(), uint32_t(tiny.tensors.size()), 1,
                                tiny.flat.data(), tiny.flat.size()),
                  {tiny.path}, false);
  std::atomic<uint64_t> bytes_loaded{0};
  const std::atomic<bool> cancelled{false};
  weights.load(2, bytes_loaded, cancelled);
  KvCache kv{{spec.num_layers(), spec.num_kv_heads, spec.head_dim, kBlockTokens, DType::kF32}, 1};
  const Memory kv_memory = backend.device->allocate(kv.spec.block_bytes());
  kv.data = kv_memory.data();
  Transformer transformer(backend, spec, weights, kv, {kBlockTokens, 1, kBlockTokens});
  transformer.warm_up();

  std::vector<int32_t> positions;
  std::vector<SampleRow> samples;
  for (int32_t t = 0; t < num_tokens; ++t) {
    positions.push_back(t);
    samples.push_back({t, -1, 0, 0, 20});
  }
  const int32_t query_start[] = {0, num_tokens}, context_len[] = {num_tokens}, block_table[] = {0};
  transformer.run({.token_ids = tokens,
                   .positions = positions,
                   .kv_slots = positions,
                   .query_start = query_start,
                   .context_len = context_len,
                   .block_table = block_table,
                   .max_blocks = 1,
                   .block_copies = {},
                   .logits_tokens = positions,
                   .samples = samples});
  std::vector<std::vector<hearth_token_logprob>> top;
  for (const SampleResult& sample : transformer.finish().samples) top.push_back(sample.top);
  return top;
}

/// Largest difference of a logprob; `top` holds the 20 most likely of each row.
double difference(const std::vector<std::vector<hearth_token_logprob>>& top, const Rows& expected) {
  CHECK_EQUAL(top.size(), expected.size());
  double largest = 0;
  for (size_t t = 0; t < top.size(); ++t) {
    CHECK_EQUAL(top[t].size(), 20u);
    for (const auto& [token, logprob] : top[t]) {
      largest = std::max(largest, std::abs(logprob - expected[t][token]));
    }
  }
  return largest;
}

TEST("Transformer computes what each layer says: residual, place of norms, window") {
  const TinyModel tiny;
  const std::vector<int32_t> tokens = {3, 17, 49, 0, 8, 21, 3, 30, 11};
  std::map<std::string, ModelSpec> specs;
  const ModelSpec plain = spec_of(tiny);
  specs["sequential"] = specs["parallel"] = specs["mixed"] = specs["after"] = specs["window"] =
      plain;
  for (LayerSpec& layer : specs["parallel"].layers) layer.residual = ResidualKind::kParallel;
  specs["mixed"].layers[1].residual = ResidualKind::kParallel;
  for (LayerSpec& layer : specs["after"].layers) layer.norm_place = NormPlace::kAfter;
  specs["window"].layers[1].attention.window = 3;
  specs["window"].layers[0].attention.scale = 0.5f;
  for (const auto& [name, spec] : specs) {
    check_layers(spec);
    const auto top = run(tiny, spec, tokens);
    for (const auto& [other_name, other] : specs) {
      const double error = difference(top, Reference(tiny, other).logprobs(tokens));
      // The formulas of the others are far off: the test tells them apart.
      const bool is_right = name == other_name ? error < 1e-4 : error > 1e-2;
      if (!is_right) {
        fail(__FILE__, __LINE__,
             format("%s by the formula of %s: off by %g", name.c_str(), other_name.c_str(), error));
      }
    }
  }
}

TEST("parse_spec: every layer has what the model says, and its own window") {
  TinyModel tiny;
  tiny.spec.sliding_window = 7;
  tiny.spec.sliding_window_first_layer = 1;
  tiny.spec.activation = HEARTH_ACTIVATION_GELU_TANH;
  const ModelSpec spec = spec_of(tiny);
  CHECK_EQUAL(spec.num_layers(), 2);
  for (int32_t i = 0; i < 2; ++i) {
    const LayerSpec& layer = spec.layers[size_t(i)];
    CHECK_EQUAL(layer.attention.layer, i);
    CHECK_EQUAL(layer.attention.window, i == 0 ? 0 : 7);
    CHECK_EQUAL(layer.attention.num_heads, 4);
    CHECK_EQUAL(layer.attention.scale, tiny.spec.attention_scale);
    CHECK_EQUAL(layer.attention.rope, 0);
    CHECK(layer.activation == Activation::kGeluTanh && layer.gated);
    CHECK(layer.norm_place == NormPlace::kBefore);
    CHECK(layer.residual == ResidualKind::kSequential);
  }
  CHECK(spec.final_norm);
  tiny.spec.norm_after = 1;
  CHECK(spec_of(tiny).layers[1].norm_place == NormPlace::kAfter);
  CHECK(!spec_of(tiny).final_norm);
}

TEST("check_layers refuses scores that no kernel caps") {
  ModelSpec spec = spec_of(TinyModel());
  check_layers(spec);
  spec.layers[1].attention_softcap = 30;
  CHECK_ERROR(HEARTH_UNSUPPORTED,
              "Cannot open model: attention_softcap of layer 1 must be 0, as no attention kernel "
              "caps scores: current value is 30",
              check_layers(spec));
}

// --------------------------------------------------------------------------------------- warm-up

/// Counts who is bound.
class CountedSamplers final : public Samplers {
 public:
  int32_t bind(const SamplerSpec& spec) override {
    CHECK(spec.max_output >= 1);
    num_with_all += spec.top_k > 0 && !spec.bad_words.empty() && !spec.logit_bias.empty() &&
                    !spec.stop_ids.empty() && spec.repetition_penalty != 1;
    bound.insert(next_);
    return next_++;
  }
  void release(int32_t sampler) override { CHECK_EQUAL(bound.erase(sampler), 1u); }

  std::set<int32_t> bound;
  int32_t num_with_all = 0;

 private:
  int32_t next_ = 0;
};

TEST("WarmUpInput is a step of that shape which writes no KV, and gives its samplers back") {
  const KvCache kv{{2, 2, 8, kBlockTokens, DType::kF32}, 4};
  struct Case {
    int32_t sequences, tokens_each, max_context, expected_tokens;
  };
  for (const auto& [sequences, tokens_each, max_context, expected_tokens] :
       {Case{1, 1, 64, 1}, Case{3, 20, 64, 20}, Case{2, 100, 33, 33}, Case{5, 16, 16, 16},
        Case{1, 0, 64, 1}}) {
    CountedSamplers samplers;
    {
      const WarmUpInput input(samplers, {sequences, tokens_each, StepUse::kOnce}, kv, max_context);
      const StepInput& step = input.step();
      CHECK_EQUAL(step.num_sequences(), sequences);
      CHECK_EQUAL(step.num_tokens(), sequences * expected_tokens);
      CHECK_EQUAL(step.positions.size(), step.token_ids.size());
      CHECK_EQUAL(step.kv_slots.size(), step.token_ids.size());
      CHECK_EQUAL(step.query_start.size(), size_t(sequences + 1));
      CHECK_EQUAL(step.max_blocks, (expected_tokens + kBlockTokens - 1) / kBlockTokens);
      CHECK_EQUAL(step.block_table.size(), size_t(sequences * step.max_blocks));
      CHECK(
          std::all_of(step.kv_slots.begin(), step.kv_slots.end(), [](int32_t s) { return s < 0; }));
      CHECK(std::all_of(step.block_table.begin(), step.block_table.end(),
                        [&](int32_t block) { return block >= 0 && block < kv.num_blocks; }));
      std::set<int32_t> used;
      for (int32_t s = 0; s < sequences; ++s) {
        CHECK_EQUAL(step.query_start[size_t(s)], s * expected_tokens);
        CHECK_EQUAL(step.context_len[size_t(s)], expected_tokens);
        for (int32_t i = 0; i < expected_tokens; ++i) {
          CHECK_EQUAL(step.positions[size_t(s * expected_tokens + i)], i);
        }
        CHECK_EQUAL(step.logits_tokens[size_t(s)], (s + 1) * expected_tokens - 1);
        CHECK_EQUAL(step.samples[size_t(s)].logits_row, s);
        CHECK_EQUAL(step.samples[size_t(s)].target, -1);
        used.insert(step.samples[size_t(s)].sampler);
      }
      CHECK(used == samplers.bound);
      CHECK_EQUAL(samplers.num_with_all, (sequences + 1) / 2);
    }
    CHECK(samplers.bound.empty());
  }
}

}  // namespace
}  // namespace hearth::test

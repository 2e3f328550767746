#include "sample.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "../../error.h"
#include "../philox.h"
#include "vector_kernels.h"

namespace hearth {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLog2E = 1.44269504088896341f;
// As vLLM's: below, the weights of all but the best would be 0 anyway.
constexpr float kLeastTemperature = 1e-5f;
// hearth_logit_bias: at and below, a token is banned.
constexpr float kBanningBias = -100;
// How finely top_p tells weights apart before it sorts: weights below 2^-126 are 0.
constexpr int32_t kBucketsPerOctave = 16, kNumBuckets = 127 * kBucketsPerOctave;

// The best `count` of a row are put in order where they are fewer than this share of it.
constexpr uint32_t kFewOf = 16;
// By how many of a logit's leading bits, sign and exponent first, the others are told apart at
// first.
constexpr int32_t kKeyBits = 12;

struct Candidate {
  float logit;
  uint32_t token;
};

/// Most likely first, ties to the lowest id.
bool operator<(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

/// Ascends as the logit does; zeros are equal.
uint32_t key_of(float logit) {
  const uint32_t bits = std::bit_cast<uint32_t>(logit + 0.0f);
  return (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
}

template <class Element>
std::vector<Element> copy(std::span<const Element> span) {
  return {span.begin(), span.end()};
}

}  // namespace

/// A sequence's sampling parameters, and what it has drawn.
struct CpuSamplers::Sampler {
  explicit Sampler(const SamplerSpec& from)
      : spec(from), stop_ids(copy(from.stop_ids)), logit_bias(copy(from.logit_bias)),
        bad_words(copy(from.bad_words)),
        penalizes(from.repetition_penalty != 1 || from.presence_penalty != 0 ||
                  from.frequency_penalty != 0) {
    if (from.repetition_penalty != 1) {
      for (const uint32_t token : from.prompt) see(token);
    }
    for (const uint32_t token : from.output) add(token);
    spec.stop_ids = {}, spec.logit_bias = {}, spec.bad_words = {}, spec.prompt = spec.output = {};
  }

  /// A token was drawn.
  void add(uint32_t token) {
    if (!bad_words.empty()) output.push_back(token);
    if (penalizes) ++see(token);
  }

  struct Seen {
    uint32_t token;
    uint32_t count;  // in the output; 0: in the prompt only
  };

  SamplerSpec spec;  // without the spans
  std::vector<uint32_t> stop_ids;
  std::vector<hearth_logit_bias> logit_bias;
  std::vector<uint32_t> bad_words;
  bool penalizes;
  std::vector<uint32_t> output;  // kept for bad words only
  std::vector<Seen> seen;        // kept for penalties only

 private:
  uint32_t& see(uint32_t token) {
    const auto [entry, is_new] = seen_index_.try_emplace(token, seen.size());
    if (is_new) seen.push_back({token, 0});
    return seen[entry->second].count;
  }

  std::unordered_map<uint32_t, size_t> seen_index_;
};

/// Memory of one thread, kept between steps.
struct CpuSamplers::Workspace {
  struct Edit {
    uint32_t token;
    float logit;  // before
  };
  std::vector<float> raw_maxima, maxima;  // of blocks; as computed, and with edits
  std::vector<Edit> edits;
  std::vector<Candidate> candidates;
  std::vector<double> sums;      // of blocks' weights
  std::vector<double> buckets;   // of weights of about the same size
  std::vector<uint32_t> counts;  // of logits with the same leading bits
};

/// One row of logits.
class CpuSamplers::Row {
 public:
  Row(const VectorKernels& kernels, float* logits, int32_t vocab, Workspace& work)
      : kernels_(kernels), logits_(logits), vocab_(vocab),
        num_blocks_((vocab + kLogitsBlock - 1) / kLogitsBlock), work_(work) {
    work_.raw_maxima.resize(num_blocks_);
    is_finite_ = kernels_.block_maxima(logits_, vocab_, work_.raw_maxima.data()) == 0;
    work_.maxima = work_.raw_maxima;
  }

  bool is_finite() const { return is_finite_; }

  /// The logprob of result.token, and of the num_logprobs most likely ones.
  void score(int32_t num_logprobs, SampleResult& result) {
    if (std::isnan(log_sum_)) log_sum_ = log_sum();
    result.logprob = logprob(logits_[result.token]);
    if (num_logprobs > 0) select(num_logprobs);
    for (int32_t i = 0; i < num_logprobs && i < vocab_; ++i) {
      const Candidate& best = work_.candidates[i];
      result.top.push_back({best.token, logprob(best.logit)});
    }
  }

  uint32_t draw(const Sampler& sampler, int32_t output_index) {
    edit(sampler, output_index);
    const uint32_t token = draw_edited(sampler.spec, output_index);
    undo_edits();
    return token;
  }

 private:
  /// What top_k and top_p leave: tokens of larger logits, and of this one up to the id.
  struct Cut {
    float logit = -kInfinity;
    int32_t last_token = std::numeric_limits<int32_t>::max();
  };

  float logprob(float logit) const { return float(double(logit) - log_sum_); }

  double log_sum() {
    const float peak = maximum();
    double sum = 0;
    float weights[kLogitsBlock];
    for (int32_t block = 0; block < num_blocks_; ++block) {
      sum += weigh(block, peak, kLog2E, 0, Cut{}, weights);
    }
    return double(peak) + std::log(sum);
  }

  float maximum() const { return *std::max_element(work_.maxima.begin(), work_.maxima.end()); }

  void set(uint32_t token, float logit) {
    work_.edits.push_back({token, logits_[token]});
    logits_[token] = logit;
  }

  void ban(uint32_t token) {
    if (token < uint32_t(vocab_)) set(token, -kInfinity);
  }

  void ban_bad_words(const Sampler& sampler) {
    const std::vector<uint32_t>& words = sampler.bad_words;
    const std::vector<uint32_t>& output = sampler.output;
    for (size_t i = 0; i < words.size() && words[i] > 0; i += words[i] + 1) {
      // The last token of a word is banned where the output ends in the others.
      const auto first = words.begin() + i + 1, last = words.begin() + i + words[i];
      const size_t prefix = last - first;
      if (prefix <= output.size() && std::equal(first, last, output.end() - prefix)) ban(*last);
    }
  }

  void edit(const Sampler& sampler, int32_t output_index) {
    const SamplerSpec& spec = sampler.spec;
    ban_bad_words(sampler);
    if (uint32_t(output_index) < spec.min_tokens) {
      for (const uint32_t token : sampler.stop_ids) ban(token);
    }
    for (const auto& [token, bias] : sampler.logit_bias) {
      if (bias <= kBanningBias) {
        ban(token);
      } else if (token < uint32_t(vocab_)) {
        set(token, logits_[token] + bias);
      }
    }
    for (const auto& [token, count] : sampler.seen) {
      if (token >= uint32_t(vocab_)) continue;
      float logit = logits_[token];
      logit = logit > 0 ? logit / spec.repetition_penalty : logit * spec.repetition_penalty;
      if (count > 0) logit -= spec.frequency_penalty * float(count) + spec.presence_penalty;
      set(token, logit);
    }
    if (!work_.edits.empty()) kernels_.block_maxima(logits_, vocab_, work_.maxima.data());
  }

  /// Newest first: a token may have been written more than once.
  void undo_edits() {
    if (work_.edits.empty()) return;
    for (auto edit = work_.edits.rbegin(); edit != work_.edits.rend(); ++edit) {
      logits_[edit->token] = edit->logit;
    }
    work_.edits.clear();
    work_.maxima = work_.raw_maxima;
  }

  uint32_t draw_edited(const SamplerSpec& spec, int32_t output_index) {
    const float peak = maximum();
    if (spec.temperature < kLeastTemperature || peak == -kInfinity) return first_with(peak);

    const float scale = kLog2E / spec.temperature;
    Cut cut;
    if (spec.top_k > 0 && spec.top_k < uint32_t(vocab_) / kFewOf) {
      select(spec.top_k);
      cut = spec.top_p < 1 ? selected_nucleus(spec, peak, scale) : cut_at(work_.candidates.back());
    } else {
      if (spec.top_k > 0 && spec.top_k < uint32_t(vocab_)) cut = cut_behind(spec.top_k);
      if (spec.top_p < 1) cut = nucleus(spec, peak, scale, cut);
    }

    const double total = weigh_blocks(peak, scale, spec.min_p, cut);
    const double noise = sampling_noise(spec.seed, spec.sequence, uint32_t(output_index));
    return token_at(noise * total, peak, scale, spec.min_p, cut);
  }

  uint32_t first_with(float logit) const {
    int32_t block = 0;
    while (work_.maxima[block] != logit) ++block;
    int32_t token = block * kLogitsBlock;
    while (logits_[token] != logit) ++token;
    return uint32_t(token);
  }

  /// The `count` best, in order, into work_.candidates; fewer where the others are banned.
  void select(size_t count) {
    std::vector<Candidate>& best = work_.candidates;
    best.clear();
    // Ids ascend, so that a token that equals the last of the best is worse than it.
    float least = -kInfinity;
    auto shrink = [&] {
      std::nth_element(best.begin(), best.begin() + count - 1, best.end());
      best.resize(count);
      least = best.back().logit;
    };
    for (int32_t block = 0; block < num_blocks_; ++block) {
      if (work_.maxima[block] <= least) continue;
      const int32_t end = std::min(vocab_, (block + 1) * kLogitsBlock);
      for (int32_t token = block * kLogitsBlock; token < end; ++token) {
        if (logits_[token] <= least) continue;
        best.push_back({logits_[token], uint32_t(token)});
        if (best.size() == 2 * count) shrink();
      }
    }
    if (best.size() > count) shrink();
    std::sort(best.begin(), best.end());
  }

  /// The cut behind the `count` best, many of a row's: only those near it are put in order.
  Cut cut_behind(uint32_t count) {
    constexpr int32_t kShift = 32 - kKeyBits;
    std::vector<uint32_t>& counts = work_.counts;
    counts.assign(size_t(1) << kKeyBits, 0);
    for (int32_t token = 0; token < vocab_; ++token) ++counts[key_of(logits_[token]) >> kShift];
    uint32_t bucket = (1u << kKeyBits) - 1;
    while (counts[bucket] < count) count -= counts[bucket--];

    std::vector<Candidate>& near = work_.candidates;
    near.clear();
    for (int32_t token = 0; token < vocab_; ++token) {
      if (key_of(logits_[token]) >> kShift == bucket)
        near.push_back({logits_[token], uint32_t(token)});
    }
    std::nth_element(near.begin(), near.begin() + count - 1, near.end());
    return cut_at(near[count - 1]);
  }

  static Cut cut_at(const Candidate& last) { return {last.logit, int32_t(last.token)}; }

  /// The end of the smallest set of most likely tokens whose share of the weight is top_p, among
  /// those that min_p and a cut leave.
  Cut nucleus(const SamplerSpec& spec, float peak, float scale, Cut among) {
    // Weights are gathered by their size first, so that only those of the cut's size are sorted.
    const auto bucket_of = [&](int32_t token) {
      const float octaves = (peak - logits_[token]) * scale;
      return int32_t(std::min(octaves * kBucketsPerOctave, float(kNumBuckets - 1)));
    };
    std::vector<double>& buckets = work_.buckets;
    buckets.assign(kNumBuckets, 0);
    double total = 0;
    float weights[kLogitsBlock];
    for (int32_t block = 0; block < num_blocks_; ++block) {
      total += weigh(block, peak, scale, spec.min_p, among, weights);
      const int32_t first = block * kLogitsBlock, count = std::min(vocab_ - first, kLogitsBlock);
      for (int32_t i = 0; i < count; ++i) {
        if (weights[i] > 0) buckets[bucket_of(first + i)] += weights[i];
      }
    }
    const double wanted = double(spec.top_p) * total;
    double before = 0;
    int32_t bucket = 0;
    while (bucket < kNumBuckets - 1 && before + buckets[bucket] < wanted) {
      before += buckets[bucket++];
    }
    std::vector<Candidate>& tokens = work_.candidates;
    tokens.clear();
    for (int32_t token = 0; token < vocab_; ++token) {
      if (bucket_of(token) != bucket || logits_[token] < among.logit) continue;
      if (logits_[token] == among.logit && token > among.last_token) continue;
      tokens.push_back({logits_[token], uint32_t(token)});
    }
    std::sort(tokens.begin(), tokens.end());
    return nucleus_of_candidates(spec, peak, scale, before, wanted);
  }

  /// The same among the candidates of top_k.
  Cut selected_nucleus(const SamplerSpec& spec, float peak, float scale) {
    const Cut all = cut_at(work_.candidates.back());
    const double wanted = double(spec.top_p) * weigh_blocks(peak, scale, spec.min_p, all);
    return nucleus_of_candidates(spec, peak, scale, 0, wanted);
  }

  Cut nucleus_of_candidates(const SamplerSpec& spec, float peak, float scale, double before,
                            double wanted) const {
    const std::vector<Candidate>& tokens = work_.candidates;
    for (size_t begin = 0; begin < tokens.size(); begin += kLogitsBlock) {
      const size_t size = std::min<size_t>(kLogitsBlock, tokens.size() - begin);
      float logits[kLogitsBlock], weights[kLogitsBlock];
      for (size_t i = 0; i < size; ++i) logits[i] = tokens[begin + i].logit;
      kernels_.weigh(logits, int32_t(size), peak, scale, -kInfinity, spec.min_p, weights);
      for (size_t i = 0; i < size; ++i) {
        before += weights[i];
        if (before >= wanted) return cut_at(tokens[begin + i]);
      }
    }
    return tokens.empty() ? Cut{} : cut_at(tokens.back());  // rounding kept it from the sum
  }

  /// Weights of a block's tokens; 0 beyond the cut. Returns their sum.
  float weigh(int32_t block, float peak, float scale, float min_p, Cut cut, float* weights) const {
    const int32_t first = block * kLogitsBlock;
    const int32_t count = std::min(vocab_ - first, kLogitsBlock);
    const float* logits = logits_ + first;
    float inside[kLogitsBlock];
    if (first > cut.last_token) {
      cut.logit = std::nextafter(cut.logit, kInfinity);
    } else if (cut.last_token < first + count - 1) {
      for (int32_t i = 0; i < count; ++i) {
        const bool out = logits[i] == cut.logit && first + i > cut.last_token;
        inside[i] = out ? -kInfinity : logits[i];
      }
      logits = inside;
    }
    return kernels_.weigh(logits, count, peak, scale, cut.logit, min_p, weights);
  }

  /// Sums of all blocks into work_.sums; returns their sum.
  double weigh_blocks(float peak, float scale, float min_p, Cut cut) {
    work_.sums.resize(num_blocks_);
    float weights[kLogitsBlock];
    double total = 0;
    for (int32_t block = 0; block < num_blocks_; ++block) {
      total += work_.sums[block] = weigh(block, peak, scale, min_p, cut, weights);
    }
    return total;
  }

  /// The first token at which the cumulative weight exceeds `wanted`; weigh_blocks() came before.
  uint32_t token_at(double wanted, float peak, float scale, float min_p, Cut cut) const {
    double before = 0;
    int32_t block = 0, last_block = 0;
    for (; block < num_blocks_; ++block) {
      if (work_.sums[block] == 0) continue;
      last_block = block;
      if (before + work_.sums[block] > wanted) break;
      before += work_.sums[block];
    }
    if (block == num_blocks_) {  // rounding: beyond the last weight
      block = last_block;
      before = -kInfinity;
    }
    float weights[kLogitsBlock];
    weigh(block, peak, scale, min_p, cut, weights);
    const int32_t first = block * kLogitsBlock, count = std::min(vocab_ - first, kLogitsBlock);
    // The block's sum was added in another order: where this one falls short, its last token.
    uint32_t token = 0;
    for (int32_t i = 0; i < count; ++i) {
      if (weights[i] == 0) continue;
      token = uint32_t(first + i);
      before += weights[i];
      if (before > wanted) break;
    }
    return token;
  }

  const VectorKernels& kernels_;
  float* const logits_;
  const int32_t vocab_;
  const int32_t num_blocks_;
  Workspace& work_;
  bool is_finite_;
  double log_sum_ = std::numeric_limits<double>::quiet_NaN();  // of exp(logit), once asked for
};

CpuSamplers::CpuSamplers(Isa isa) : isa_(isa) {}
CpuSamplers::~CpuSamplers() = default;

int32_t CpuSamplers::bind(const SamplerSpec& spec) {
  size_t index = 0;
  while (index < samplers_.size() && samplers_[index] != nullptr) ++index;
  if (index == samplers_.size()) samplers_.emplace_back();
  samplers_[index] = std::make_unique<Sampler>(spec);
  return int32_t(index);
}

void CpuSamplers::release(int32_t sampler) { samplers_[sampler].reset(); }

void CpuSamplers::sample(ThreadPool& pool, const StepInput& input, float* logits, int32_t vocab,
                         int32_t first_row, int32_t num_rows, std::vector<SampleResult>& results) {
  const VectorKernels& kernels = vector_kernels(isa_);
  const auto row_begin = [&](int32_t row) {
    return std::lower_bound(
        input.samples.begin(), input.samples.end(), row,
        [](const SampleRow& sample, int32_t wanted) { return sample.logits_row < wanted; });
  };
  const auto first_sample = row_begin(first_row);
  const size_t first_result = results.size();
  results.resize(first_result + (row_begin(first_row + num_rows) - first_sample));
  workspaces_.resize(std::max(workspaces_.size(), size_t(pool.size())));

  auto sample_row = [&](int32_t index, int thread) {
    const auto begin = row_begin(first_row + index), end = row_begin(first_row + index + 1);
    if (begin == end) return;
    Row row(kernels, logits + size_t(index) * vocab, vocab, workspaces_[thread]);
    for (auto sample = begin; sample != end; ++sample) {
      SampleResult& result = results[first_result + (sample - first_sample)];
      result.not_finite = !row.is_finite();
      if (result.not_finite) continue;
      if (sample->target >= 0) {
        result.token = uint32_t(sample->target);
      } else {
        Sampler& sampler = *samplers_[sample->sampler];
        result.token = row.draw(sampler, sample->output_index);
        sampler.add(result.token);
      }
      result.logprob = std::numeric_limits<float>::quiet_NaN();
      if (sample->num_logprobs >= 0) row.score(sample->num_logprobs, result);
    }
  };

  if (num_rows == 1) {
    sample_row(0, 0);
  } else {
    WorkQueue queue(num_rows, 1);
    pool.run([&](int thread) {
      for (int32_t begin, end; queue.take(begin, end);) sample_row(begin, thread);
    });
  }
}

}  // namespace hearth

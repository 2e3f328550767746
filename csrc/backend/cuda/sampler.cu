#include "sampler.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <unordered_map>

namespace hearth::cuda {
namespace {

constexpr float kBanningBias = -100;  // hearth_logit_bias: at and below, a token is banned
/// What one request may ask for besides penalties (hearth.h: stop ids, biases, bad words), in
/// bytes.
constexpr size_t kRequestBytes = 1 << 20;
/// Slots for each sequence that runs: those that were preempted keep theirs.
constexpr int32_t kSlotsEach = 2;
/// Of all samplers at most: 128 sequences that remember 50,000 tokens each fit, or 48 that remember
/// 131,072.
constexpr size_t kMaxArenaBytes = 128 << 20;
constexpr size_t kStagingBytes = 2 << 20;

bool penalizes(const SamplerSpec& spec) {
  return spec.repetition_penalty != 1 || spec.presence_penalty != 0 || spec.frequency_penalty != 0;
}

/// The edits that a sampler begins with.
class EditList {
 public:
  explicit EditList(const SamplerSpec& spec) {
    for (size_t i = 0; i < spec.bad_words.size(); i += spec.bad_words[i] + 1) {
      at(spec.bad_words[i + spec.bad_words[i]]);  // banned now and then, and restored
    }
    if (spec.min_tokens > 0) {
      for (const uint32_t token : spec.stop_ids) at(token).is_stop = 1;
    }
    for (const auto& [token, bias] : spec.logit_bias) {
      at(token).bias += bias <= kBanningBias ? -std::numeric_limits<float>::infinity() : bias;
    }
    if (spec.repetition_penalty != 1) {
      for (const uint32_t token : spec.prompt) at(token).seen = 1;
    }
    if (penalizes(spec)) {
      for (const uint32_t token : spec.output) {
        TokenEdit& edit = at(token);
        edit.seen = std::max<uint32_t>(edit.seen, 1) + 1;
      }
    }
  }

  const std::vector<TokenEdit>& edits() const { return edits_; }

 private:
  TokenEdit& at(uint32_t token) {
    const auto [entry, is_new] = index_.try_emplace(token, edits_.size());
    if (is_new) edits_.push_back({token, 0, 0, 0, 0});
    return edits_[entry->second];
  }

  std::vector<TokenEdit> edits_;
  std::unordered_map<uint32_t, size_t> index_;
};

/// A SamplerHistory with its arrays. Tells the slot their sizes.
std::vector<uint32_t> first_history(const SamplerSpec& spec, size_t num_edits, SamplerSlot& slot) {
  std::vector<uint32_t> words, ids;
  for (size_t i = 0; i < spec.bad_words.size(); i += spec.bad_words[i] + 1) {
    const uint32_t length = spec.bad_words[i] - 1;  // of what comes before the banned token
    const auto begin = spec.bad_words.begin() + i + 1;
    words.insert(words.end(), {begin[length], length, uint32_t(ids.size())});
    ids.insert(ids.end(), begin, begin + length);
    slot.num_recent = std::max(slot.num_recent, length);
    ++slot.num_words;
  }
  std::vector<uint32_t> history = {uint32_t(num_edits), uint32_t(spec.output.size())};
  const size_t recent = history.size();
  history.resize(recent + slot.num_recent);
  const size_t num_kept = std::min<size_t>(slot.num_recent, spec.output.size());
  for (size_t i = spec.output.size() - num_kept; i < spec.output.size(); ++i) {
    history[recent + i % slot.num_recent] = spec.output[i];
  }
  history.insert(history.end(), words.begin(), words.end());
  history.insert(history.end(), ids.begin(), ids.end());
  history.resize((history.size() + 3) / 4 * 4);  // edits lie at multiples of 16 bytes
  return history;
}

template <class T>
void append(std::vector<std::byte>& to, const std::vector<T>& values) {
  const auto* bytes = reinterpret_cast<const std::byte*>(values.data());
  to.insert(to.end(), bytes, bytes + values.size() * sizeof(T));
}

}  // namespace

size_t CudaSamplers::reserved_bytes(const StepSizes& sizes) {
  if (sizes.vocab_size > kMaxVocab) {
    throw Error(
        HEARTH_UNSUPPORTED,
        format("Cannot open model: vocab_size must be at most %d to sample on CUDA: current "
               "value is %d",
               kMaxVocab, sizes.vocab_size));
  }
  if (sizes.sequences == 0) return 0;
  const size_t tokens = std::min(sizes.vocab_size, sizes.max_context);
  const size_t each = RangeAllocator::rounded(kRequestBytes + tokens * sizeof(TokenEdit));
  // One sequence always fits.
  const size_t arena = std::min(each * sizes.sequences, std::max(each, kMaxArenaBytes));
  return arena + size_t(sizes.sequences) * kSlotsEach * sizeof(SamplerSlot);
}

void CudaSamplers::reserve(const StepSizes& sizes) {
  if (sizes.sequences == 0) return;
  vocab_size_ = size_t(sizes.vocab_size);
  const size_t num_slots = size_t(sizes.sequences) * kSlotsEach;
  slots_ = device_.allocate(num_slots * sizeof(SamplerSlot));
  arena_ = device_.allocate(reserved_bytes(sizes) - slots_.bytes());
  pieces_ = RangeAllocator(arena_.bytes());
  samplers_.resize(num_slots);
  slots_image_.resize(num_slots);
  for (Staging& staging : stagings_) {
    staging.memory = device_.allocate(kStagingBytes, Tier::kHost);
    staging.copied = make_event(cudaEventDisableTiming);
  }
}

CudaSamplers::~CudaSamplers() {
  for (Staging& staging : stagings_) {
    if (staging.copied != nullptr) cudaEventSynchronize(staging.copied);
  }
}

int32_t CudaSamplers::bind(const SamplerSpec& spec) {
  const auto unbound = std::find_if(samplers_.begin(), samplers_.end(),
                                    [](const Sampler& sampler) { return !sampler.is_bound; });
  if (unbound == samplers_.end()) return kNoRoom;
  const int32_t index = int32_t(unbound - samplers_.begin());

  SamplerSlot slot = {};
  slot.seed = spec.seed;
  slot.sequence = spec.sequence;
  slot.temperature = spec.temperature;
  slot.top_p = spec.top_p;
  slot.min_p = spec.min_p;
  slot.top_k = spec.top_k;
  slot.repetition_penalty = spec.repetition_penalty;
  slot.presence_penalty = spec.presence_penalty;
  slot.frequency_penalty = spec.frequency_penalty;
  slot.min_tokens = spec.min_tokens;
  slot.remembers_tokens = penalizes(spec);
  if (slot.remembers_tokens || !spec.logit_bias.empty() || !spec.bad_words.empty()) {
    slot.edited_until = std::numeric_limits<uint32_t>::max();
  } else if (!spec.stop_ids.empty()) {
    slot.edited_until = spec.min_tokens;
  }

  Sampler sampler;
  sampler.is_bound = true;
  if (slot.edited_until > 0) {
    const EditList list(spec);
    append(sampler.image, first_history(spec, list.edits().size(), slot));
    const size_t history_bytes = sampler.image.size();
    append(sampler.image, list.edits());
    // A draw makes a penalizing sampler remember one more token at most.
    const size_t to_come = spec.max_output - std::min<size_t>(spec.max_output, spec.output.size());
    const size_t known = list.edits().size(), most = std::min(known + to_come, vocab_size_);
    const size_t room = slot.remembers_tokens ? most - std::min(most, known) : 0;
    sampler.bytes = sampler.image.size() + room * sizeof(TokenEdit);
    const std::optional<size_t> offset = pieces_.allocate(sampler.bytes);
    if (!offset) return kNoRoom;
    sampler.offset = *offset;
    slot.history = reinterpret_cast<SamplerHistory*>(arena_.data() + sampler.offset);
    slot.edits = reinterpret_cast<TokenEdit*>(arena_.data() + sampler.offset + history_bytes);
  }
  samplers_[index] = std::move(sampler);
  slots_image_[index] = slot;
  changed_.push_back(index);
  return index;
}

void CudaSamplers::release(int32_t index) {
  Sampler& sampler = samplers_[index];
  if (sampler.bytes > 0) pieces_.free(sampler.offset, sampler.bytes);
  sampler = {};
}

void CudaSamplers::wait_for(Staging& staging) {
  check(cudaEventSynchronize(staging.copied), "Cannot copy samplers");
}

// `used` of the staging memory is on its way; where it is full, all of it is waited for.
void CudaSamplers::copy_through(Staging& staging, std::byte* to, const void* from, size_t bytes,
                                size_t& used) {
  const cudaStream_t stream = device_.stream().handle;
  while (bytes > 0) {
    if (used == staging.memory.bytes()) {
      check(cudaEventRecord(staging.copied, stream), "Cannot copy samplers");
      wait_for(staging);
      used = 0;
    }
    const size_t size = std::min(bytes, staging.memory.bytes() - used);
    std::memcpy(staging.memory.data() + used, from, size);
    check(cudaMemcpyAsync(to, staging.memory.data() + used, size, cudaMemcpyHostToDevice, stream),
          "Cannot copy samplers");
    used += size, to += size, from = static_cast<const std::byte*>(from) + size, bytes -= size;
  }
}

void CudaSamplers::upload_changes() {
  if (changed_.empty()) return;
  Staging& staging = stagings_[next_staging_++ % stagings_.size()];
  wait_for(staging);
  size_t used = 0;
  const auto [first, last] = std::minmax_element(changed_.begin(), changed_.end());
  copy_through(staging, slots_.data() + *first * sizeof(SamplerSlot), &slots_image_[*first],
               (*last + 1 - *first) * sizeof(SamplerSlot), used);
  for (const int32_t index : changed_) {
    std::vector<std::byte>& image = samplers_[index].image;
    copy_through(staging, arena_.data() + samplers_[index].offset, image.data(), image.size(),
                 used);
    image = {};
  }
  check(cudaEventRecord(staging.copied, device_.stream().handle), "Cannot copy samplers");
  changed_.clear();
}

void CudaSamplers::sample(const StepView& step, float* logits, int32_t vocab, int32_t first_row,
                          int32_t num_rows, DeviceSample* results) {
  if (num_rows == 0 || step.num_samples == 0) return;
  launch_sample(device_.stream(),
                {step, logits, vocab, first_row, slots_.as<SamplerSlot>(), results}, num_rows);
}

}  // namespace hearth::cuda

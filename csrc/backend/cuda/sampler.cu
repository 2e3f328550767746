#include "sampler.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <unordered_map>

namespace hearth::cuda {
namespace {

constexpr float kBanningBias = -100;  // hearth_logit_bias: at and below, a token is banned
constexpr size_t kFirstRoom = 64;     // tokens that a sampler may remember before its list moves

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

DevicePool::Block DevicePool::allocate(size_t bytes) {
  if (bytes == 0) return {};
  bytes = std::bit_ceil(std::max(bytes, kLeastBytes));
  std::vector<std::byte*>& free = free_[std::countr_zero(bytes)];
  if (!free.empty()) {
    const Block block{free.back(), bytes};
    free.pop_back();
    return block;
  }
  if (rest_.bytes < bytes) {
    arenas_.emplace_back(std::max(bytes, kArenaBytes));
    rest_ = {arenas_.back().data(), arenas_.back().bytes()};
    bytes_ += rest_.bytes;
  }
  const Block block{rest_.data, bytes};
  rest_ = {rest_.data + bytes, rest_.bytes - bytes};
  return block;
}

void DevicePool::free(const Block& block) {
  if (block.bytes > 0) free_[std::countr_zero(block.bytes)].push_back(block.data);
}

DeviceSamplers::DeviceSamplers(Stream& stream)
    : stream_(stream), slots_(kMaxSamplers * sizeof(SamplerSlot)) {}

DeviceSamplers::~DeviceSamplers() {
  for (Staging& staging : stagings_) {
    if (staging.copied != nullptr) cudaEventSynchronize(staging.copied);
  }
}

int32_t DeviceSamplers::bind(const SamplerSpec& spec) {
  size_t index = 0;
  while (index < samplers_.size() && samplers_[index].is_bound) ++index;
  if (index == kMaxSamplers) {
    throw Error(HEARTH_OUT_OF_MEMORY,
                format("Cannot bind sampler: there are %zu already", kMaxSamplers));
  }

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
    sampler.history_bytes = sampler.image.size();
    append(sampler.image, list.edits());
    sampler.most_edits = list.edits().size();
    const size_t room = slot.remembers_tokens ? kFirstRoom * sizeof(TokenEdit) : 0;
    sampler.memory = pool_.allocate(sampler.image.size() + room);
  }
  if (index == samplers_.size()) {
    samplers_.emplace_back();
    slots_image_.emplace_back();
  }
  samplers_[index] = std::move(sampler);
  slots_image_[index] = slot;
  place(int32_t(index), samplers_[index].memory);
  return int32_t(index);
}

void DeviceSamplers::release(int32_t index) {
  pool_.free(samplers_[index].memory);
  samplers_[index] = {};
}

void DeviceSamplers::place(int32_t index, const DevicePool::Block& memory) {
  Sampler& sampler = samplers_[index];
  sampler.memory = memory;
  slots_image_[index].history = reinterpret_cast<SamplerHistory*>(memory.data);
  slots_image_[index].edits = reinterpret_cast<TokenEdit*>(memory.data + sampler.history_bytes);
  changed_.push_back(index);
}

void DeviceSamplers::grow(int32_t index) {
  Sampler& sampler = samplers_[index];
  const DevicePool::Block from = sampler.memory, to = pool_.allocate(from.bytes * 2);
  if (sampler.image.empty()) {
    check(cudaMemcpyAsync(to.data, from.data, from.bytes, cudaMemcpyDeviceToDevice, stream_.handle),
          "Cannot copy samplers");
  }
  place(index, to);
  pool_.free(from);
}

void DeviceSamplers::upload_changes(std::span<const SampleRow> samples) {
  for (const SampleRow& row : samples) {
    if (row.sampler < 0 || !slots_image_[row.sampler].remembers_tokens) continue;
    Sampler& sampler = samplers_[row.sampler];
    if (++sampler.most_edits > sampler.room()) grow(row.sampler);
  }
  if (changed_.empty()) return;

  const auto [first, last] = std::minmax_element(changed_.begin(), changed_.end());
  const size_t slots_bytes = (*last + 1 - *first) * sizeof(SamplerSlot);
  size_t bytes = slots_bytes;
  for (const int32_t index : changed_) bytes += samplers_[index].image.size();

  Staging& staging = stagings_[next_staging_++ % stagings_.size()];
  if (staging.copied == nullptr) staging.copied = make_event(cudaEventDisableTiming);
  check(cudaEventSynchronize(staging.copied), "Cannot copy samplers");
  if (staging.memory.bytes() < bytes) staging.memory = PinnedBuffer(bytes * 2);

  std::byte* from = staging.memory.data();
  const auto copy = [&](void* to, const void* source, size_t size) {
    std::memcpy(from, source, size);
    check(cudaMemcpyAsync(to, from, size, cudaMemcpyHostToDevice, stream_.handle),
          "Cannot copy samplers");
    from += size;
  };
  copy(slots_.data<SamplerSlot>() + *first, &slots_image_[*first], slots_bytes);
  for (const int32_t index : changed_) {
    std::vector<std::byte>& image = samplers_[index].image;
    if (image.empty()) continue;
    copy(samplers_[index].memory.data, image.data(), image.size());
    image = {};
  }
  check(cudaEventRecord(staging.copied, stream_.handle), "Cannot copy samplers");
  changed_.clear();
}

void DeviceSamplers::sample(const StepView& step, float* logits, int32_t vocab, int32_t first_row,
                            int32_t num_rows, DeviceSample* results) {
  if (vocab > kMaxVocab) {
    throw Error(HEARTH_UNSUPPORTED,
                format("Cannot sample: the vocabulary must be of at most %d tokens: current value "
                       "is %d",
                       kMaxVocab, vocab));
  }
  if (num_rows == 0 || step.num_samples == 0) return;
  launch_sample(stream_, {step, logits, vocab, first_row, slots_.data<SamplerSlot>(), results},
                num_rows);
}

}  // namespace hearth::cuda

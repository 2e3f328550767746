#include "fake_runner.h"

#include <cmath>
#include <stdexcept>
#include <thread>

#include "check.h"

namespace hearth::test {

namespace {

constexpr uint64_t kPoison = 0xdeadbeefdeadbeef;

uint64_t mix(uint64_t a, uint64_t b) {
  uint64_t z = a * 0x9e3779b97f4a7c15 + b + 0x7f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

uint64_t next_kv(uint64_t previous, uint32_t token, int32_t position) {
  return mix(mix(previous, token), uint64_t(position));
}

uint32_t draw(uint64_t context, uint64_t seed, uint32_t sequence, int32_t output_index) {
  return uint32_t(mix(mix(mix(context, seed), sequence), uint64_t(output_index)) % kFakeVocab);
}

float logprob_of(uint64_t context, uint32_t token) {
  return -float(mix(context, token) % 4096) / 256;
}

}  // namespace

FakeRunner::FakeRunner(int32_t num_blocks, int32_t block_tokens)
    : block_tokens_(block_tokens), kv_(size_t(num_blocks) * block_tokens, kPoison) {}

void FakeRunner::load(std::atomic<uint64_t>& bytes_loaded, const std::atomic<bool>& cancelled) {
  if (load_failure) throw Error(HEARTH_IO_ERROR, *load_failure);
  while (waits_for_cancel) {
    if (cancelled) throw Error(HEARTH_CLOSING, "Cannot load: cancelled");
    std::this_thread::yield();
  }
  bytes_loaded = 123;
}

int32_t FakeRunner::bind_sampler(const SamplerSpec& spec) {
  lose_device_if(++num_bind_calls_ == lost_at_bind);
  if (fails_bind.count(num_bind_calls_)) throw std::runtime_error("no sampler left");
  if (num_samplers() >= max_samplers) return Samplers::kNoRoom;
  samplers_[next_sampler_] = {spec.seed, spec.sequence, 0};
  on_bound();
  return next_sampler_++;
}

void FakeRunner::release_sampler(int32_t sampler) {
  if (samplers_.erase(sampler) == 0) throw std::logic_error("a sampler is released twice");
}

void FakeRunner::lose_device_if(bool now) {
  if (is_lost_) ++num_calls_when_lost;
  is_lost_ = is_lost_ || now;
  if (is_lost_) throw DeviceLost("Cannot reach the fake device: it has fallen off the bus");
}

uint64_t& FakeRunner::kv(const StepInput& input, int32_t sequence, int32_t position) {
  const int32_t block = input.block_table[sequence * input.max_blocks + position / block_tokens_];
  return kv_.at(size_t(block) * block_tokens_ + position % block_tokens_);
}

uint64_t FakeRunner::context(const StepInput& input, int32_t token) {
  int32_t sequence = 0;
  while (input.query_start[sequence + 1] <= token) ++sequence;
  uint64_t hash = 0;
  for (int32_t p = 0; p <= input.positions[token]; ++p) hash = mix(hash, kv(input, sequence, p));
  return hash;
}

void FakeRunner::run(const StepInput& input) {
  CHECK(!has_abandoned_);
  const StepResult& previous = results_[(num_begun_ + 3) % 4];
  if (step_seconds) {
    int64_t num_pairs = 0;
    for (const int32_t position : input.positions) num_pairs += position + 1;
    seconds_[num_begun_ % 4] = step_seconds(input.num_tokens(), num_pairs);
  }
  StepResult& result = results_[num_begun_++ % 4];
  result.samples.clear();
  has_abandoned_ = true;  // unless the end is reached
  lose_device_if(++num_run_calls_ == lost_at_run);
  if (fails_run.count(num_run_calls_)) throw std::runtime_error("a kernel of the fake has failed");
  std::this_thread::sleep_for(step_delay);
  num_copies += int32_t(input.block_copies.size());
  max_tokens = std::max(max_tokens, input.num_tokens());
  max_sequences = std::max(max_sequences, input.num_sequences());

  for (const auto& [from, to] : input.block_copies) {
    for (int32_t i = 0; i < block_tokens_; ++i) {
      kv_.at(size_t(to) * block_tokens_ + i) = kv_.at(size_t(from) * block_tokens_ + i);
    }
  }
  std::set<int32_t> written;
  for (int32_t s = 0; s < input.num_sequences(); ++s) {
    const int32_t first = input.query_start[s];
    const int32_t last = input.query_start[s + 1];
    for (int32_t t = first; t < last; ++t) {
      const int32_t id = input.token_ids[t];
      const uint32_t token = id < 0 ? previous.samples.at(~id).token : uint32_t(id);
      const int32_t position = input.positions[t];
      CHECK_EQUAL(position, input.context_len[s] - (last - t));
      CHECK_EQUAL(&kv(input, s, position), &kv_.at(input.kv_slots[t]));
      CHECK(written.insert(input.kv_slots[t]).second);
      const uint64_t before = position == 0 ? 0 : kv(input, s, position - 1);
      kv_.at(input.kv_slots[t]) = next_kv(before, token, position);
    }
  }
  int32_t last_row = 0;
  for (const SampleRow& row : input.samples) {
    CHECK(row.logits_row >= last_row);
    last_row = row.logits_row;
    const uint64_t hash = context(input, input.logits_tokens[row.logits_row]);
    SampleResult sample;
    if (row.target >= 0) {
      sample.token = uint32_t(row.target);
    } else {
      Sampler& sampler = samplers_.at(row.sampler);
      CHECK_EQUAL(row.output_index, sampler.num_drawn++);  // each output token is drawn once
      sample.not_finite = broken_seeds.count(sampler.seed) > 0;
      sample.token = draw(hash, sampler.seed, sampler.sequence, row.output_index);
    }
    sample.logprob = logprob_of(hash, sample.token);
    for (int32_t k = 0; k < row.num_logprobs; ++k) sample.top.push_back({uint32_t(k), float(-k)});
    result.samples.push_back(sample);
  }
  has_abandoned_ = false;
}

const StepResult& FakeRunner::finish() {
  CHECK(num_finished_ < num_begun_);
  now += std::chrono::duration_cast<Clock::duration>(
      std::chrono::duration<double>(seconds_[num_finished_ % 4]));
  StepResult& result = results_[num_finished_++ % 4];
  if (num_finished_ == num_begun_) has_abandoned_ = false;
  lose_device_if(num_finished_ == lost_at_finish);
  if (fails_finish.count(num_finished_)) throw std::runtime_error("the fake device fell silent");
  if (const auto more = more_results.find(num_finished_); more != more_results.end()) {
    result.samples.resize(result.samples.size() + more->second);
  }
  return result;
}

std::vector<uint32_t> expected_output(const std::vector<uint32_t>& prompt, uint64_t seed,
                                      uint32_t sequence, int32_t num_tokens) {
  std::vector<uint32_t> tokens = prompt;
  uint64_t kv = 0;
  uint64_t hash = 0;
  for (size_t p = 0; tokens.size() < prompt.size() + size_t(num_tokens); ++p) {
    kv = next_kv(kv, tokens[p], int32_t(p));
    hash = mix(hash, kv);
    if (p + 1 < prompt.size()) continue;
    tokens.push_back(draw(hash, seed, sequence, int32_t(tokens.size() - prompt.size())));
  }
  return {tokens.begin() + prompt.size(), tokens.end()};
}

float expected_prompt_logprob(const std::vector<uint32_t>& prompt, int32_t index) {
  uint64_t kv = 0;
  uint64_t hash = 0;
  for (int32_t p = 0; p < index; ++p) {
    kv = next_kv(kv, prompt[p], p);
    hash = mix(hash, kv);
  }
  return logprob_of(hash, prompt[index]);
}

}  // namespace hearth::test

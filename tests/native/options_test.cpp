// What is refused at the doors, and how memory is shared out.
#include <cmath>
#include <cstring>

#include "check.h"
#include "engine/engine_options.h"
#include "engine/request_options.h"
#include "harness.h"

namespace hearth::test {
namespace {

constexpr RequestLimits kLimits{100, 64, 4};
constexpr hearth_status kInvalid = HEARTH_INVALID_ARGUMENT;

struct Submission {
  std::vector<uint32_t> tokens = {1, 2, 3};
  hearth_request_options values = request_values({.prompt = {1}});
  std::vector<uint8_t> flat;

  template <class T>
  void add(uint32_t& offset, uint32_t& count, const std::vector<T>& elements) {
    offset = uint32_t(flat.size());
    count = uint32_t(elements.size());
    flat.resize(flat.size() + elements.size() * sizeof(T));
    std::memcpy(flat.data() + offset, elements.data(), elements.size() * sizeof(T));
    values.flat_bytes = uint32_t(flat.size());
  }
  RequestOptions parse() const {
    return parse_request(tokens.data(), uint32_t(tokens.size()), values, flat.data(), kLimits);
  }
};

/// Changes one thing of a valid submission, which then is refused with this text.
template <class Change>
void refuses(const std::string& text, Change&& change) {
  Submission submission;
  submission.parse();
  change(submission);
  CHECK_ERROR(kInvalid, "Cannot submit request: " + text, submission.parse());
}

TEST("parse_request names the field, its value and what is allowed") {
  refuses("max_tokens must be >= 1: current value is 0", [](auto& s) { s.values.max_tokens = 0; });
  refuses("min_tokens must be <= max_tokens, which is 8: current value is 9",
          [](auto& s) { s.values.min_tokens = 9; });
  refuses("num_sequences must be 1 to 128: current value is 0",
          [](auto& s) { s.values.num_sequences = 0; });
  refuses("num_sequences must be 1 to 128", [](auto& s) { s.values.num_sequences = 129; });
  refuses("num_sequences must be <= max_num_seqs, which is 4: current value is 5",
          [](auto& s) { s.values.num_sequences = 5; });
  refuses("temperature must be 0 to 2: current value is nan",
          [](auto& s) { s.values.temperature = NAN; });
  refuses("temperature must be 0 to 2: current value is 2.1",
          [](auto& s) { s.values.temperature = 2.1f; });
  refuses("temperature", [](auto& s) { s.values.temperature = -0.1f; });
  refuses("top_p must be above 0 and at most 1", [](auto& s) { s.values.top_p = 0; });
  refuses("top_p", [](auto& s) { s.values.top_p = 1.01f; });
  refuses("min_p", [](auto& s) { s.values.min_p = -1; });
  refuses("repetition_penalty", [](auto& s) { s.values.repetition_penalty = 0; });
  refuses("repetition_penalty", [](auto& s) { s.values.repetition_penalty = INFINITY; });
  refuses("presence_penalty", [](auto& s) { s.values.presence_penalty = 2.5f; });
  refuses("frequency_penalty", [](auto& s) { s.values.frequency_penalty = -2.5f; });
  refuses("logprobs must be -1 to 20: current value is 21",
          [](auto& s) { s.values.logprobs = 21; });
  refuses("logprobs", [](auto& s) { s.values.logprobs = -2; });
  refuses("prompt_logprobs", [](auto& s) { s.values.prompt_logprobs = 21; });
  refuses("priority must be -1000 to 1000", [](auto& s) { s.values.priority = 1001; });
  refuses("has_seed", [](auto& s) { s.values.has_seed = 2; });
  refuses("reserved", [](auto& s) { s.values.reserved = 1; });
}

TEST("parse_request refuses prompts that are empty, too long or out of the vocabulary") {
  refuses("num_tokens must be >= 1", [](auto& s) { s.tokens.clear(); });
  refuses("num_tokens must be <= 63, since max_model_len is 64: current value is 64",
          [](auto& s) { s.tokens.resize(64); });
  refuses("tokens must hold ids below 100", [](auto& s) { s.tokens[1] = 100; });
  Submission scored;  // without output there is room for one token more
  scored.tokens.resize(64);
  scored.values.max_tokens = 0;
  scored.values.prompt_logprobs = 0;
  scored.parse();
}

TEST("parse_request checks every range of the flat buffer") {
  refuses("stop_ids must lie in the flat buffer of 0 bytes",
          [](auto& s) { s.values.stop_ids_count = 1; });
  refuses("stop_ids must lie in the flat buffer", [](auto& s) {
    s.add(s.values.stop_ids_offset, s.values.stop_ids_count, std::vector<uint32_t>{1, 2});
    s.values.stop_ids_count = 0x40000001;  // times 4 wraps in 32 bits
  });
  refuses("stop_ids_offset must be a multiple of 4", [](auto& s) {
    s.add(s.values.stop_ids_offset, s.values.stop_ids_count, std::vector<uint32_t>{1, 2});
    s.values.stop_ids_offset = 2;
    s.values.stop_ids_count = 1;
  });
  refuses("stop_ids must hold ids below 100", [](auto& s) {
    s.add(s.values.stop_ids_offset, s.values.stop_ids_count, std::vector<uint32_t>{100});
  });
  refuses("logit_bias must be -100 to 100: current value is nan", [](auto& s) {
    s.add(s.values.logit_bias_offset, s.values.logit_bias_count,
          std::vector<hearth_logit_bias>{{1, NAN}});
  });
  refuses("logit_bias must hold ids below 100", [](auto& s) {
    s.add(s.values.logit_bias_offset, s.values.logit_bias_count,
          std::vector<hearth_logit_bias>{{1000, 1}});
  });
  for (const std::vector<uint32_t>& words :
       {std::vector<uint32_t>{0}, {3, 1, 2}, {1, 5, 2, 7}, {0xffffffff, 1}}) {
    refuses("bad_words must hold words of 1 to",
            [&](auto& s) { s.add(s.values.bad_words_offset, s.values.bad_words_count, words); });
  }
  refuses("bad_words must hold ids below 100", [](auto& s) {
    s.add(s.values.bad_words_offset, s.values.bad_words_count, std::vector<uint32_t>{1, 100});
  });
  Submission valid;
  valid.add(valid.values.bad_words_offset, valid.values.bad_words_count,
            std::vector<uint32_t>{1, 5, 2, 6, 7});
  valid.add(valid.values.stop_ids_offset, valid.values.stop_ids_count, std::vector<uint32_t>{9});
  const RequestOptions options = valid.parse();
  CHECK(options.bad_words == (std::vector<uint32_t>{1, 5, 2, 6, 7}));
  CHECK(options.is_stop(9) && !options.is_stop(5));
}

hearth_engine_options given() {
  hearth_engine_options options{};
  options.size = sizeof(options);
  options.activation_dtype = options.kv_cache_dtype = HEARTH_DTYPE_AUTO;
  return options;
}

TEST("check_engine_options fills defaults in and keeps decodes within the budget") {
  hearth_engine_options options = check_engine_options(given());
  CHECK_EQUAL(options.block_size, 16u);
  CHECK_EQUAL(options.max_num_seqs, 128u);
  CHECK_EQUAL(options.max_num_batched_tokens, 512u);
  CHECK_EQUAL(options.max_queued_requests, 1024u);
  CHECK_EQUAL(options.max_queued_tokens, 4194304u);
  CHECK_EQUAL(options.pipeline_depth, 1u);

  hearth_engine_options small = given();
  small.max_num_batched_tokens = 8;
  CHECK_EQUAL(check_engine_options(small).max_num_seqs, 8u);
  small.max_num_seqs = 9;
  CHECK_ERROR(kInvalid,
              "max_num_batched_tokens must be >= max_num_seqs, which is 9: current value is 8",
              check_engine_options(small));
  hearth_engine_options many = given();
  many.max_num_seqs = 1000;
  CHECK_EQUAL(check_engine_options(many).max_num_batched_tokens, 1000u);
}

TEST("check_engine_options refuses what no engine can be") {
  const auto refuses_engine = [](hearth_status status, const char* text, auto&& change) {
    hearth_engine_options options = given();
    change(options);
    CHECK_ERROR(status, text, check_engine_options(options));
  };
  refuses_engine(kInvalid, "device_kind", [](auto& o) { o.device_kind = 3; });
  refuses_engine(HEARTH_UNSUPPORTED, "without CUDA",
                 [](auto& o) { o.device_kind = HEARTH_DEVICE_CUDA; });
  refuses_engine(kInvalid, "device_index", [](auto& o) { o.device_index = 1; });
  refuses_engine(kInvalid, "manual", [](auto& o) { o.manual = 2; });
  refuses_engine(kInvalid, "num_threads", [](auto& o) { o.num_threads = 1u << 20; });
  refuses_engine(kInvalid, "block_size must be 16, 32 or 64: current value is 17",
                 [](auto& o) { o.block_size = 17; });
  refuses_engine(kInvalid, "activation_dtype",
                 [](auto& o) { o.activation_dtype = HEARTH_DTYPE_F16; });
  refuses_engine(kInvalid, "kv_cache_dtype", [](auto& o) { o.kv_cache_dtype = HEARTH_DTYPE_INT8; });
  refuses_engine(kInvalid, "pipeline_depth must be 0 to 2", [](auto& o) { o.pipeline_depth = 3; });
  refuses_engine(kInvalid, "max_num_seqs", [](auto& o) { o.max_num_seqs = 1u << 30; });
  refuses_engine(kInvalid, "disable_prefix_caching", [](auto& o) { o.disable_prefix_caching = 2; });
}

constexpr MemoryNeeds kNeeds{1000, 1000, 100, 2048};
constexpr Machine machine_with(uint64_t free_bytes) { return {2, free_bytes, free_bytes, {}}; }

TEST("plan_kv takes a quarter of the memory, or what all sequences can fill") {
  const hearth_engine_options options = check_engine_options(given());
  KvPlan plan = plan_kv(options, kNeeds, machine_with(400000));
  CHECK_EQUAL(plan.num_blocks, 1000);
  CHECK_EQUAL(plan.max_model_len, 2048);
  plan = plan_kv(options, kNeeds, machine_with(1u << 30));
  CHECK_EQUAL(plan.num_blocks, 128 * 128);
  // Too little for one sequence of max_position: the length that was not asked for shrinks.
  plan = plan_kv(options, kNeeds, machine_with(4000));
  CHECK_EQUAL(plan.num_blocks, 10);
  CHECK_EQUAL(plan.max_model_len, 160);
}

TEST("plan_kv holds one sequence of a length that was asked for, or says why not") {
  hearth_engine_options options = check_engine_options(given());
  options.max_model_len = 1000;
  const KvPlan plan = plan_kv(options, kNeeds, machine_with(10000));
  CHECK_EQUAL(plan.num_blocks, 63);
  CHECK_EQUAL(plan.max_model_len, 1000);
  CHECK_ERROR(HEARTH_OUT_OF_MEMORY, "lower max_model_len",
              plan_kv(options, kNeeds, machine_with(8000)));
  options.num_kv_blocks = 62;
  CHECK_ERROR(
      kInvalid,
      "max_model_len must be <= 992, what the KV cache of 62 blocks holds: current value is 1000",
      plan_kv(options, kNeeds, machine_with(10000)));
  options.max_model_len = 0;
  CHECK_EQUAL(plan_kv(options, kNeeds, machine_with(10000)).max_model_len, 992);
  options.max_model_len = 2049;
  CHECK_ERROR(kInvalid, "max_model_len must be 0 to 2048",
              plan_kv(options, kNeeds, machine_with(10000)));
}

TEST("plan_kv refuses more memory than there is, and names the option") {
  hearth_engine_options options = check_engine_options(given());
  options.kv_cache_memory_bytes = 100000;
  CHECK_ERROR(HEARTH_OUT_OF_MEMORY, "lower kv_cache_memory_bytes",
              plan_kv(options, kNeeds, machine_with(50000)));
  options.memory_limit_bytes = 200000;
  CHECK_EQUAL(plan_kv(options, kNeeds, machine_with(50000)).num_blocks, 1000);
  options.kv_cache_memory_bytes = 99;
  CHECK_ERROR(kInvalid, "kv_cache_memory_bytes must be >= 100, a block: current value is 99",
              plan_kv(options, kNeeds, machine_with(50000)));
  options.num_kv_blocks = UINT32_MAX;
  CHECK_ERROR(HEARTH_OUT_OF_MEMORY, "lower num_kv_blocks",
              plan_kv(options, kNeeds, machine_with(50000)));
  options = check_engine_options(given());
  CHECK_ERROR(HEARTH_OUT_OF_MEMORY, "smaller model", plan_kv(options, kNeeds, machine_with(1500)));
  options.max_queued_tokens = 10;
  CHECK_ERROR(kInvalid, "max_queued_tokens must be >= max_model_len",
              plan_kv(options, kNeeds, machine_with(1u << 30)));
}

TEST("read_machine finds cores and memory") {
  const Machine machine = read_machine();
  CHECK(machine.num_cores >= 1);
  CHECK(machine.free_bytes > 0 && machine.free_bytes <= machine.memory_bytes);
  CHECK(machine.memory_bytes < (uint64_t(1) << 50));
  CHECK(!machine.cpu_name.empty());
}

}  // namespace
}  // namespace hearth::test

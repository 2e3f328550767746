// What is refused at the doors, and how memory is shared out.
#include <cmath>
#include <cstring>

#include "check.h"
#include "engine/request_options.h"
#include "harness.h"
#include "open/devices.h"
#include "open/engine_options.h"
#include "open/machine.h"

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
  refuses("skip_reading_prefix_cache", [](auto& s) { s.values.skip_reading_prefix_cache = 2; });
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
    s.values.stop_ids_offset = 0xfffffffc;  // plus 8 wraps in 32 bits
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

TEST("parse_request bounds the lists of a request") {
  const auto ids = [](size_t count) { return std::vector<uint32_t>(count, 7); };
  const auto biases = [](size_t count) { return std::vector<hearth_logit_bias>(count, {7, 1}); };
  const auto words = [](size_t num_words, uint32_t length) {
    std::vector<uint32_t> flat;
    for (size_t i = 0; i < num_words; ++i) {
      flat.push_back(length);
      flat.insert(flat.end(), length, 7);
    }
    return flat;
  };
  const auto add_stops = [](Submission& s, const std::vector<uint32_t>& list) {
    s.add(s.values.stop_ids_offset, s.values.stop_ids_count, list);
  };
  const auto add_biases = [](Submission& s, const std::vector<hearth_logit_bias>& list) {
    s.add(s.values.logit_bias_offset, s.values.logit_bias_count, list);
  };
  const auto add_words = [](Submission& s, const std::vector<uint32_t>& list) {
    s.add(s.values.bad_words_offset, s.values.bad_words_count, list);
  };
  Submission full;
  add_stops(full, ids(HEARTH_MAX_STOP_IDS));
  add_biases(full, biases(HEARTH_MAX_LOGIT_BIASES));
  add_words(full, words(256, 64));
  full.parse();
  Submission single;
  add_words(single, words(HEARTH_MAX_BAD_WORD_IDS, 1));
  single.parse();

  refuses("stop_ids must hold at most 1024 ids: current value is 1025",
          [&](auto& s) { add_stops(s, ids(HEARTH_MAX_STOP_IDS + 1)); });
  refuses("logit_bias must hold at most 16384 tokens: current value is 16385",
          [&](auto& s) { add_biases(s, biases(HEARTH_MAX_LOGIT_BIASES + 1)); });
  refuses("bad_words must hold at most 16384 ids: current value is 16385",
          [&](auto& s) { add_words(s, words(1, HEARTH_MAX_BAD_WORD_IDS + 1)); });
  refuses("bad_words must hold at most 32768 elements: current value is 32770",
          [&](auto& s) { add_words(s, words(HEARTH_MAX_BAD_WORD_IDS + 1, 1)); });
  // Refused by the count alone, before the buffer is looked at.
  refuses("stop_ids must hold at most 1024 ids: current value is 4294967295",
          [](auto& s) { s.values.stop_ids_count = UINT32_MAX; });
}

TEST("is_stop finds ids in any order, repeated or not") {
  Submission submission;
  submission.add(submission.values.stop_ids_offset, submission.values.stop_ids_count,
                 std::vector<uint32_t>{50, 3, 99, 3, 17});
  const RequestOptions options = submission.parse();
  for (uint32_t token = 0; token < 100; ++token) {
    const bool listed = token == 50 || token == 3 || token == 99 || token == 17;
    CHECK_EQUAL(options.is_stop(token), listed);
  }
}

hearth_engine_options given() {
  hearth_engine_options options{};
  options.size = sizeof(options);
  options.activation_dtype = options.kv_cache_dtype = HEARTH_DTYPE_AUTO;
  return options;
}

hearth_device device_of(uint32_t kind, uint64_t memory_bytes, uint64_t free_bytes) {
  hearth_device device{};
  device.size = sizeof(device);
  device.kind = kind;
  device.best_isa = kind == HEARTH_DEVICE_CUDA ? 90 : HEARTH_ISA_AVX2;
  device.num_cores = 2;
  device.memory_bytes = memory_bytes;
  device.free_bytes = free_bytes;
  return device;
}
hearth_device cpu_with(uint64_t free_bytes) {
  return device_of(HEARTH_DEVICE_CPU, free_bytes, free_bytes);
}
const hearth_device kCpu = cpu_with(1u << 30);
const hearth_device kCuda = device_of(HEARTH_DEVICE_CUDA, 80ull << 30, 79ull << 30);

TEST("choose_device takes what was asked for, or the first CUDA device, or the CPU") {
  std::vector<hearth_device> devices{kCpu};
  const auto choose = [&](uint32_t kind, uint32_t index) {
    return choose_device(kind, index, devices, "Cannot open engine");
  };
  CHECK_EQUAL(choose(HEARTH_DEVICE_AUTO, 0).kind, uint32_t(HEARTH_DEVICE_CPU));
  CHECK_EQUAL(choose(HEARTH_DEVICE_CPU, 0).kind, uint32_t(HEARTH_DEVICE_CPU));
  CHECK_ERROR(HEARTH_UNSUPPORTED,
              "Cannot open engine: no CUDA device 0: ", choose(HEARTH_DEVICE_CUDA, 0));
  CHECK_ERROR(kInvalid, "device_kind must be AUTO (0), CPU (1) or CUDA (2): current value is 3",
              choose(3, 0));
  CHECK_ERROR(kInvalid, "device_index must be 0", choose(HEARTH_DEVICE_CPU, 1));
  CHECK_ERROR(kInvalid, "device_index must be 0", choose(HEARTH_DEVICE_AUTO, 1));

  devices.push_back(kCuda);
  devices.push_back(kCuda);
  devices[2].index = 1;
  CHECK_EQUAL(choose(HEARTH_DEVICE_AUTO, 0).kind, uint32_t(HEARTH_DEVICE_CUDA));
  CHECK_EQUAL(choose(HEARTH_DEVICE_CPU, 0).kind, uint32_t(HEARTH_DEVICE_CPU));
  CHECK_EQUAL(choose(HEARTH_DEVICE_CUDA, 1).index, 1u);
  CHECK_ERROR(HEARTH_UNSUPPORTED, "no CUDA device 2: ", choose(HEARTH_DEVICE_CUDA, 2));
}

TEST("list_devices begins with the CPU") {
  CHECK_EQUAL(list_devices(HEARTH_DEVICE_CPU).size(), 1u);
  const std::vector<hearth_device> devices = list_devices();
  CHECK_EQUAL(devices.front().kind, uint32_t(HEARTH_DEVICE_CPU));
  for (size_t i = 1; i < devices.size(); ++i) {
    CHECK_EQUAL(devices[i].kind, uint32_t(HEARTH_DEVICE_CUDA));
    CHECK_EQUAL(devices[i].index, uint32_t(i - 1));
  }
}

TEST("check_engine_options fills defaults in and keeps decodes within the budget") {
  hearth_engine_options options = check_engine_options(given(), kCpu);
  CHECK_EQUAL(options.block_size, 16u);
  CHECK_EQUAL(options.max_num_seqs, 128u);
  CHECK_EQUAL(options.max_num_batched_tokens, 512u);
  CHECK_EQUAL(options.max_queued_requests, 1024u);
  CHECK_EQUAL(options.max_queued_tokens, 4194304u);
  CHECK_EQUAL(options.pipeline_depth, 1u);
  CHECK_EQUAL(options.device_kind, uint32_t(HEARTH_DEVICE_CPU));

  options = check_engine_options(given(), kCuda);
  CHECK_EQUAL(options.device_kind, uint32_t(HEARTH_DEVICE_CUDA));
  CHECK_EQUAL(options.max_num_batched_tokens, 2048u);
  CHECK_EQUAL(options.pipeline_depth, 2u);
  CHECK_EQUAL(options.gpu_memory_utilization, 0.9f);

  hearth_engine_options small = given();
  small.max_num_batched_tokens = 8;
  CHECK_EQUAL(check_engine_options(small, kCpu).max_num_seqs, 8u);
  small.max_num_seqs = 9;
  CHECK_ERROR(kInvalid,
              "max_num_batched_tokens must be >= max_num_seqs, which is 9: current value is 8",
              check_engine_options(small, kCpu));
  hearth_engine_options many = given();
  many.max_num_seqs = 1000;
  CHECK_EQUAL(check_engine_options(many, kCpu).max_num_batched_tokens, 1000u);
}

TEST("check_engine_options refuses what no engine can be") {
  hearth_device device = kCpu;
  const auto refuses_engine = [&](hearth_status status, const char* text, auto&& change) {
    hearth_engine_options options = given();
    change(options);
    CHECK_ERROR(status, text, check_engine_options(options, device));
  };
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
  refuses_engine(kInvalid, "load_format", [](auto& o) { o.load_format = 2; });
  refuses_engine(kInvalid, "gpu_memory_utilization must be 0 to 1: current value is 1.5",
                 [](auto& o) { o.gpu_memory_utilization = 1.5f; });
  refuses_engine(kInvalid, "gpu_memory_utilization",
                 [](auto& o) { o.gpu_memory_utilization = NAN; });
  refuses_engine(HEARTH_UNSUPPORTED, "kv_cache_dtype must be AUTO (255), F32 (0) or F16 (1) on the",
                 [](auto& o) { o.kv_cache_dtype = HEARTH_DTYPE_BF16; });
  device = kCuda;
  refuses_engine(HEARTH_UNSUPPORTED, "isa must be AUTO (0) on CUDA: current value is 2",
                 [](auto& o) { o.isa = HEARTH_ISA_AVX2; });
  refuses_engine(HEARTH_UNSUPPORTED, "activation_dtype must be AUTO (255) or F32 (0) on CUDA",
                 [](auto& o) { o.activation_dtype = HEARTH_DTYPE_INT8; });
}

TEST("choose_types goes by device, option and the layers' weights") {
  const auto types = [](const hearth_device& device, LayerTypes layers, uint32_t activation,
                        uint32_t kv) {
    hearth_engine_options options = given();
    options.activation_dtype = activation;
    options.kv_cache_dtype = kv;
    return choose_types(check_engine_options(options, device), device, layers);
  };
  const LayerTypes fp32{false, DType::kF32}, fp16{false, DType::kF16}, bf16{false, DType::kBF16},
      quantized{true, DType::kF16};
  constexpr uint32_t kAuto = HEARTH_DTYPE_AUTO;
  const auto check = [](ComputeTypes chosen, DType activations, DType kv) {
    CHECK(chosen.activations == activations && chosen.kv == kv);
  };
  check(types(kCpu, fp16, kAuto, kAuto), DType::kF32, DType::kF32);
  check(types(kCpu, quantized, kAuto, kAuto), DType::kInt8, DType::kF16);
  check(types(kCpu, quantized, HEARTH_DTYPE_F32, kAuto), DType::kF32, DType::kF32);
  check(types(kCpu, fp16, HEARTH_DTYPE_INT8, HEARTH_DTYPE_F32), DType::kInt8, DType::kF32);

  check(types(kCuda, fp32, kAuto, kAuto), DType::kF32, DType::kF32);
  check(types(kCuda, fp32, kAuto, HEARTH_DTYPE_BF16), DType::kF32, DType::kBF16);
  check(types(kCuda, fp16, kAuto, kAuto), DType::kF16, DType::kF16);
  check(types(kCuda, quantized, kAuto, HEARTH_DTYPE_F16), DType::kF16, DType::kF16);
  check(types(kCuda, bf16, kAuto, kAuto), DType::kBF16, DType::kBF16);
  check(types(kCuda, bf16, HEARTH_DTYPE_F32, kAuto), DType::kF32, DType::kF32);
  CHECK_ERROR(HEARTH_UNSUPPORTED, "kv_cache_dtype must be AUTO (255) or BF16 (2)",
              types(kCuda, bf16, kAuto, HEARTH_DTYPE_F16));
  CHECK_ERROR(HEARTH_UNSUPPORTED, "current value is F32 (0)",
              types(kCuda, fp16, kAuto, HEARTH_DTYPE_F32));
  hearth_device turing = kCuda;
  turing.best_isa = 75;
  check(types(turing, fp16, kAuto, kAuto), DType::kF32, DType::kF32);
}

TEST("layer_types looks at the linear weights of layers alone") {
  const auto of = [](std::vector<std::pair<uint32_t, DType>> weights) {
    std::vector<TensorSource> tensors;
    for (const auto& [role, dtype] : weights) {
      tensors.push_back({"t", role, 0, FileFormat(dtype), 32, 32, 0, 0, 0});
    }
    return layer_types(tensors);
  };
  constexpr uint32_t kQ = HEARTH_TENSOR_Q_WEIGHT, kUp = HEARTH_TENSOR_UP_WEIGHT;
  CHECK(of({{HEARTH_TENSOR_TOKEN_EMBEDDING, DType::kQ8_0}, {kQ, DType::kBF16}}).operands ==
        DType::kBF16);
  CHECK(of({{HEARTH_TENSOR_ATTENTION_NORM_WEIGHT, DType::kF32}, {kQ, DType::kF16}}).operands ==
        DType::kF16);
  const LayerTypes mixed = of({{kQ, DType::kQ4_0}, {kUp, DType::kF16}});
  CHECK(mixed.any_quantized && mixed.operands == DType::kF16);
  CHECK(of({{kQ, DType::kBF16}, {kUp, DType::kF16}}).operands == DType::kF32);
  CHECK(of({{kQ, DType::kF32}, {kUp, DType::kF16}}).operands == DType::kF32);
  CHECK(!of({{kQ, DType::kF32}}).any_quantized);
}

constexpr MemoryNeeds kNeeds{1000, 1000, 100, 2048};

TEST("plan_kv takes a quarter of the memory, or what all sequences can fill") {
  const hearth_engine_options options = check_engine_options(given(), kCpu);
  KvPlan plan = plan_kv(options, kNeeds, cpu_with(400000));
  CHECK_EQUAL(plan.num_blocks, 1000);
  CHECK_EQUAL(plan.max_model_len, 2048);
  plan = plan_kv(options, kNeeds, cpu_with(1u << 30));
  CHECK_EQUAL(plan.num_blocks, 128 * 128);
  // Too little for one sequence of max_position: the length that was not asked for shrinks.
  plan = plan_kv(options, kNeeds, cpu_with(4000));
  CHECK_EQUAL(plan.num_blocks, 10);
  CHECK_EQUAL(plan.max_model_len, 160);
}

TEST("plan_kv holds one sequence of a length that was asked for, or says why not") {
  hearth_engine_options options = check_engine_options(given(), kCpu);
  options.max_model_len = 1000;
  const KvPlan plan = plan_kv(options, kNeeds, cpu_with(10000));
  CHECK_EQUAL(plan.num_blocks, 63);
  CHECK_EQUAL(plan.max_model_len, 1000);
  CHECK_ERROR(HEARTH_OUT_OF_MEMORY, "lower max_model_len",
              plan_kv(options, kNeeds, cpu_with(8000)));
  options.num_kv_blocks = 62;
  CHECK_ERROR(
      kInvalid,
      "max_model_len must be <= 992, what the KV cache of 62 blocks holds: current value is 1000",
      plan_kv(options, kNeeds, cpu_with(10000)));
  options.max_model_len = 0;
  CHECK_EQUAL(plan_kv(options, kNeeds, cpu_with(10000)).max_model_len, 992);
  options.max_model_len = 2049;
  CHECK_ERROR(kInvalid, "max_model_len must be at most 2048",
              plan_kv(options, kNeeds, cpu_with(10000)));
}

TEST("plan_kv refuses more memory than there is, and names the option") {
  hearth_engine_options options = check_engine_options(given(), kCpu);
  options.kv_cache_memory_bytes = 100000;
  CHECK_ERROR(HEARTH_OUT_OF_MEMORY, "lower kv_cache_memory_bytes",
              plan_kv(options, kNeeds, cpu_with(50000)));
  options.memory_limit_bytes = 200000;
  CHECK_EQUAL(plan_kv(options, kNeeds, cpu_with(50000)).num_blocks, 1000);
  options.kv_cache_memory_bytes = 99;
  CHECK_ERROR(kInvalid, "kv_cache_memory_bytes must be >= 100, a block: current value is 99",
              plan_kv(options, kNeeds, cpu_with(50000)));
  options.num_kv_blocks = UINT32_MAX;
  CHECK_ERROR(HEARTH_OUT_OF_MEMORY, "lower num_kv_blocks",
              plan_kv(options, kNeeds, cpu_with(50000)));
  options = check_engine_options(given(), kCpu);
  CHECK_ERROR(HEARTH_OUT_OF_MEMORY, "smaller model", plan_kv(options, kNeeds, cpu_with(1500)));
  options.max_queued_tokens = 10;
  CHECK_ERROR(kInvalid, "max_queued_tokens must be >= max_model_len",
              plan_kv(options, kNeeds, cpu_with(1u << 30)));
}

TEST("plan_kv fills a CUDA device up to gpu_memory_utilization") {
  hearth_engine_options options = check_engine_options(given(), kCuda);
  constexpr uint64_t kGiB = 1ull << 30;
  const MemoryNeeds needs{26 * kGiB, kGiB, kGiB / 100, 4096};
  // 72 GiB of 80 (0.9f is a little less than 0.9), of which weights and workspace take 27.
  const KvPlan plan = plan_kv(options, needs, kCuda);
  CHECK_EQUAL(plan.num_blocks, 4499);
  CHECK_EQUAL(plan.max_model_len, 4096);
  options.gpu_memory_utilization = 0.5f;
  CHECK_EQUAL(plan_kv(options, needs, kCuda).num_blocks, 1300);
  options.max_num_seqs = 2;  // no more than they can fill
  CHECK_EQUAL(plan_kv(options, needs, kCuda).num_blocks, 512);
  options.gpu_memory_utilization = 0.3f;
  CHECK_ERROR(HEARTH_OUT_OF_MEMORY,
              "24576.0 MiB may be taken (80896.0 MiB are free, gpu_memory_utilization is 0.3)",
              plan_kv(options, needs, kCuda));

  // What others have is not free; half a GiB is left for the driver.
  options = check_engine_options(given(), kCuda);
  const hearth_device shared = device_of(HEARTH_DEVICE_CUDA, 80 * kGiB, 28 * kGiB);
  CHECK_EQUAL(plan_kv(options, needs, shared).num_blocks, 50);
  options.max_model_len = 4096;
  CHECK_ERROR(HEARTH_OUT_OF_MEMORY, "lower max_model_len", plan_kv(options, needs, shared));
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

// What the CUDA backend decides on the host: kernels by device and shape, and how a step is packed.
#include "backend/cuda/dispatch.h"
#include "backend/cuda/step_buffer.h"
#include "check.h"

namespace hearth::test {
namespace {

using namespace cuda;

// What libraries are made of: CUDA_ARCHITECTURES="75", "80" and so on; kHopper is that of sm_90a.
constexpr LoadedCode kTuring{75, false, false}, kAmpere{80, false, false}, kAda{89, false, false},
    kPlain90{90, false, true}, kHopper{90, true, true}, kBlackwell{120, false, true};

TEST("choose_linear() goes by the code that was loaded, dtype and number of tokens") {
  const DeviceTraits turing{kTuring}, ampere{kAmpere}, ada{kAda}, hopper{kHopper},
      blackwell{kBlackwell};
  CHECK(choose_linear(hopper, DType::kF16, 1, 4096) == LinearKernel::kStreamSm90);
  CHECK(choose_linear(hopper, DType::kQ4_1, kMaxStreamTokens, 4096) == LinearKernel::kStreamSm90);
  CHECK(choose_linear(ampere, DType::kQ4_1, kMaxStreamTokens, 4096) == LinearKernel::kStreamSm80);
  CHECK(choose_linear(hopper, DType::kF16, kMaxWideStreamTokens, kWideRows) ==
        LinearKernel::kStreamSm90);
  CHECK(choose_linear(hopper, DType::kF16, kMaxWideStreamTokens + 1, kWideRows) ==
        LinearKernel::kGemmSm90);
  CHECK(choose_linear(hopper, DType::kBF16, kMaxStreamTokens + 1, 4096) == LinearKernel::kGemmSm90);
  CHECK(choose_linear(ampere, DType::kF16, 1000, 4096) == LinearKernel::kGemmSm80);
  CHECK(choose_linear(ada, DType::kQ8_0, 1000, 4096) == LinearKernel::kGemmSm80);
  CHECK(choose_linear(blackwell, DType::kF16, 1000, 4096) == LinearKernel::kGemmSm80);
  CHECK(choose_linear(turing, DType::kF16, 1, 4096) == LinearKernel::kExact);
  for (const int32_t tokens : {1, 64, 65, 4096}) {
    CHECK(choose_linear(hopper, DType::kF32, tokens, 4096) == LinearKernel::kExact);
    CHECK(choose_linear({kHopper, true}, DType::kF16, tokens, 4096) == LinearKernel::kExact);
  }
}

TEST("kernels without a body in the loaded code are not chosen, whatever the device") {
  const KvSpec kv{30, 3, 64, 16, DType::kF16};
  // A library of "80 ptx" on an H200, one of "90" without sm_90a, one of "120".
  for (const LoadedCode& code : {kAmpere, kPlain90, kBlackwell}) {
    CHECK(choose_linear({code}, DType::kQ4_1, 1, 4096) == LinearKernel::kStreamSm80);
    CHECK(choose_linear({code}, DType::kF16, 1000, 4096) == LinearKernel::kGemmSm80);
    CHECK(choose_prefill({code}, kv) == AttentionKernel::kSm80);
  }
  CHECK(choose_prefill({kHopper}, kv) == AttentionKernel::kSm90);
  CHECK(choose_prefill({kTuring}, kv) == AttentionKernel::kExact);
}

TEST("describe_choices() says what the loaded code is for") {
  const auto has = [](const LoadedCode& code, const char* text) {
    return describe_choices({code}).find(text) != std::string::npos;
  };
  CHECK(has(kAmpere, "code: for compute capability 8.0, launches do not overlap\n"));
  CHECK(has(kAmpere, "linear: stream_sm80 to 64 tokens, then gemm_sm80"));
  CHECK(has(kBlackwell, "code: for compute capability 12.0, launches overlap\n"));
  CHECK(has(kBlackwell, "attention: decode_sm80, prefill_sm80"));
  CHECK(has(kHopper, "attention: decode_sm90, prefill_sm90"));
  CHECK(has(kTuring, "code: for compute capability 7.5"));
}

TEST("limit_code() leaves out what later compute capabilities brought") {
  const auto equal = [](const LoadedCode& a, const LoadedCode& b) {
    return a.compute_capability == b.compute_capability &&
           a.has_hopper_bodies == b.has_hopper_bodies &&
           a.waits_for_previous == b.waits_for_previous;
  };
  CHECK(equal(limit_code(kHopper, 0), kHopper));
  CHECK(equal(limit_code(kHopper, 90), kHopper));
  CHECK(equal(limit_code(kHopper, 80), kAmpere));
  CHECK(equal(limit_code(kHopper, 75), kTuring));
  CHECK(equal(limit_code(kAmpere, 90), kAmpere));  // a limit adds nothing
}

TEST("fuses_rope() goes by the code that was loaded, what heads need and number of tokens") {
  const DeviceTraits hopper{kHopper};
  const KvSpec kv{30, 3, 64, 16, DType::kF16};
  QkvShape small;
  small.num_heads = 9;
  small.rope_half = 32;
  CHECK(fuses_rope(hopper, kv, small, 1));
  CHECK(fuses_rope(hopper, kv, small, kMaxStreamTokens));
  CHECK(!fuses_rope(hopper, kv, small, kMaxStreamTokens + 1));
  CHECK(!fuses_rope({kAmpere}, kv, small, 1));
  CHECK(!fuses_rope({kHopper, true}, kv, small, 1));
  const auto fuses = [&](const KvSpec& kv, auto change) {
    QkvShape shape = small;
    change(shape);
    return fuses_rope(hopper, kv, shape, 1);
  };
  CHECK(fuses(kv, [](QkvShape& it) { it.rope_half = 0; }));
  CHECK(fuses(kv, [](QkvShape& it) { it.q = it.k = it.v = DType::kQ4_0; }));
  CHECK(!fuses(kv, [](QkvShape& it) { it.v = DType::kQ8_0; }));
  CHECK(!fuses(kv, [](QkvShape& it) { it.has_head_norms = true; }));
  CHECK(!fuses(kv, [](QkvShape& it) { it.rope_half = 16; }));
  CHECK(!fuses(kv, [](QkvShape& it) { it.rope_interleaved = true; }));
  CHECK(!fuses({30, 3, 64, 16, DType::kF32}, [](QkvShape&) {}));
  CHECK(!fuses({30, 3, 80, 16, DType::kF16}, [](QkvShape& it) { it.rope_half = 40; }));
  // Too many pairs of strips for the warps that run at a time.
  const int32_t most = kMaxFusedWarps / 2 - 2 * kv.num_kv_heads;
  CHECK(fuses(kv, [&](QkvShape& it) { it.num_heads = most; }));
  CHECK(!fuses(kv, [&](QkvShape& it) { it.num_heads = most + 1; }));
}

TEST("choose_prefill() goes by the code that was loaded, KV dtype and head_dim") {
  KvSpec kv{2, 4, 128, 16, DType::kF16};
  CHECK(choose_prefill({kHopper}, kv) == AttentionKernel::kSm90);
  CHECK(choose_prefill({kAda}, kv) == AttentionKernel::kSm80);
  CHECK(choose_prefill({kBlackwell}, kv) == AttentionKernel::kSm80);
  CHECK(choose_prefill({kTuring}, kv) == AttentionKernel::kExact);
  CHECK(choose_prefill({kHopper, true}, kv) == AttentionKernel::kExact);
  kv.head_dim = 48;
  CHECK(choose_prefill({kHopper}, kv) == AttentionKernel::kExact);
  kv = {2, 4, 128, 16, DType::kF32};
  CHECK(choose_prefill({kHopper}, kv) == AttentionKernel::kExact);
}

TEST("group_samples() joins neighbours of one sampler") {
  const std::vector<SampleRow> rows = {{0, 3, -1, 0, -1}, {0, 3, -1, 1, -1}, {1, -1, 7, 0, 0},
                                       {1, -1, 8, 0, 0},  {1, 3, -1, 2, -1}, {2, 0, -1, 0, -1}};
  const std::vector<SampleGroup> groups = group_samples(rows);
  const std::vector<std::pair<int32_t, int32_t>> expected = {
      {0, 2}, {2, 1}, {3, 1}, {4, 1}, {5, 1}};
  CHECK_EQUAL(groups.size(), expected.size());
  for (size_t i = 0; i < groups.size(); ++i) {
    CHECK_EQUAL(groups[i].first, expected[i].first);
    CHECK_EQUAL(groups[i].count, expected[i].second);
  }
}

/// Two decodes of contexts 20 and 513, in blocks of 16.
struct Decodes {
  std::vector<int32_t> ids{5, ~0}, positions{19, 512}, slots{35, 80}, starts{0, 1, 2};
  std::vector<int32_t> contexts{20, 513}, table = std::vector<int32_t>(2 * 33, -1), rows{0, 1};
  std::vector<SampleRow> samples{{0, 0, -1, 4, -1}, {1, 1, -1, 9, 5}};
  RopeView rope{{1.f, 0.5f, 0.25f}, 1, false};
  StepInput input;

  Decodes() {
    table[0] = 7, table[1] = 2;
    for (int32_t i = 0; i < 33; ++i) table[33 + i] = 10 + i;
    input.token_ids = ids;
    input.positions = positions;
    input.kv_slots = slots;
    input.query_start = starts;
    input.context_len = contexts;
    input.block_table = table;
    input.max_blocks = 33;
    input.logits_tokens = rows;
    input.samples = samples;
  }
};

TEST("pack_step() pads a step to the size it is recorded for") {
  const Decodes decodes;
  AttentionPlan plan;
  plan.make(decodes.input);
  CHECK_EQUAL(plan.decodes.size(), 3u);  // 1 chunk and 2
  StepLayout layout;
  layout.num_tokens = layout.num_sequences = layout.num_logits = 4;
  layout.num_samples = layout.num_groups = 4;
  layout.max_blocks = 64;
  layout.max_decodes = max_decode_items(4, 64 * 16);
  layout.rope_half = 3;
  CHECK(layout.max_decodes >= 3);
  StepView view;
  const size_t bytes = layout.place(nullptr, view);
  std::vector<std::byte> memory(bytes + 64, std::byte{0xee});
  pack_step(decodes.input, plan, group_samples(decodes.samples), decodes.rope, layout,
            memory.data());
  for (size_t i = bytes; i < memory.size(); ++i) CHECK(memory[i] == std::byte{0xee});
  CHECK_EQUAL(layout.place(memory.data(), view), bytes);
  CHECK_EQUAL(view.token_ids[1], ~0);
  CHECK_EQUAL(view.kv_slots[1], 80);
  CHECK_EQUAL(*view.num_decodes, 3);
  CHECK_EQUAL(view.block_table[1], 2);
  CHECK_EQUAL(view.block_table[2], -1);
  CHECK_EQUAL(view.block_table[64 + 32], 42);
  CHECK_EQUAL(view.block_table[64 + 33], -1);
  CHECK_EQUAL(view.samples[1].num_logprobs, 5);
  CHECK_EQUAL(view.groups[1].first, 1);
  for (int32_t i = 2; i < 4; ++i) {  // padding
    CHECK_EQUAL(view.token_ids[i], 0);
    CHECK_EQUAL(view.kv_slots[i], -1);
    CHECK_EQUAL(view.context_len[i], 0);
    CHECK_EQUAL(view.query_start[i + 1], i + 1);
    CHECK_EQUAL(view.block_table[i * 64], -1);
    CHECK_EQUAL(view.groups[i].count, 0);
    CHECK(view.samples[i].sampler < 0 && view.samples[i].target < 0);
  }
  const float* inv_freq = layout.inv_freq(memory.data());
  CHECK_EQUAL(inv_freq[2], 0.25f);
  CHECK(reinterpret_cast<const std::byte*>(inv_freq + 3) <= memory.data() + bytes);
}

TEST("pack_step() of a step without sequences or samples stays within its memory") {
  const std::vector<int32_t> zeros(3, 0);
  StepInput input;
  input.token_ids = input.positions = input.kv_slots = zeros;
  AttentionPlan plan;
  plan.make(input);
  CHECK(plan.decodes.empty() && plan.prefills.empty());
  StepLayout layout;
  layout.num_tokens = 3;
  StepView view;
  std::vector<std::byte> memory(layout.place(nullptr, view) + 16, std::byte{0xee});
  pack_step(input, plan, {}, {}, layout, memory.data());
  for (size_t i = memory.size() - 16; i < memory.size(); ++i) CHECK(memory[i] == std::byte{0xee});
}

}  // namespace
}  // namespace hearth::test

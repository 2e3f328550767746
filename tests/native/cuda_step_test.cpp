// What the CUDA backend decides on the host: kernels by device and shape, and how a step is packed.
#include <algorithm>
#include <random>

#include "backend/cuda/dispatch.h"
#include "backend/cuda/range_allocator.h"
#include "backend/cuda/recorded_steps.h"
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
    CHECK(choose_attention({code}, kv) == AttentionKernel::kSm80);
  }
  CHECK(choose_attention({kHopper}, kv) == AttentionKernel::kSm90);
  CHECK(choose_attention({kTuring}, kv) == AttentionKernel::kExact);
}

TEST("DispatchTable::describe() says what the loaded code is for") {
  const auto has = [](const LoadedCode& code, const char* text) {
    return DispatchTable({code}).describe().find(text) != std::string::npos;
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

TEST("fuses_rope() goes by the kernel, what heads need and number of tokens") {
  constexpr LinearKernel kStream = LinearKernel::kStreamSm90;
  const KvSpec kv{30, 3, 64, 16, DType::kF16};
  QkvShape small;
  small.num_heads = 9;
  small.rope_half = 32;
  CHECK(fuses_rope(kStream, kv, small, 1));
  CHECK(fuses_rope(kStream, kv, small, kMaxStreamTokens));
  CHECK(!fuses_rope(LinearKernel::kGemmSm90, kv, small, 1));
  CHECK(!fuses_rope(LinearKernel::kStreamSm80, kv, small, 1));
  CHECK(!fuses_rope(LinearKernel::kExact, kv, small, 1));
  const auto fuses = [&](const KvSpec& kv, auto change) {
    QkvShape shape = small;
    change(shape);
    return fuses_rope(kStream, kv, shape, 1);
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

TEST("choose_attention() goes by the code that was loaded, KV dtype and head_dim") {
  KvSpec kv{2, 4, 128, 16, DType::kF16};
  CHECK(choose_attention({kHopper}, kv) == AttentionKernel::kSm90);
  CHECK(choose_attention({kAda}, kv) == AttentionKernel::kSm80);
  CHECK(choose_attention({kBlackwell}, kv) == AttentionKernel::kSm80);
  CHECK(choose_attention({kTuring}, kv) == AttentionKernel::kExact);
  CHECK(choose_attention({kHopper, true}, kv) == AttentionKernel::kExact);
  kv.head_dim = 48;
  CHECK(choose_attention({kHopper}, kv) == AttentionKernel::kExact);
  kv = {2, 4, 128, 16, DType::kF32};
  CHECK(choose_attention({kHopper}, kv) == AttentionKernel::kExact);
}

TEST("DispatchTable takes a tuner's entry, else today's constants, and says what it chose") {
  DispatchTable table({kHopper});
  LinearChoice tuned;
  tuned.kernel = LinearKernel::kGemmSm90;
  tuned.tile_tokens = 128;
  table.set({DType::kF16, 5120, 5120, 16}, tuned);
  CHECK(table.choose(DType::kF16, 16, 5120, 5120) == tuned);
  CHECK(table.choose(DType::kF16, 9, 5120, 5120) == tuned);  // of the same bucket
  const LinearChoice& other = table.choose(DType::kF16, 8, 5120, 5120);
  CHECK(other.kernel == LinearKernel::kStreamSm90);
  CHECK(other == table.choose(DType::kF16, 5, 5120, 5120));
  for (const int32_t tokens : {1, 2, 16, 17, 64, 65, 1000}) {
    for (const int32_t rows : {4096, kWideRows}) {
      DispatchTable fresh({kHopper});
      CHECK(fresh.choose(DType::kQ8_0, tokens, rows, 64).kernel ==
            choose_linear({kHopper}, DType::kQ8_0, tokens, rows));
    }
  }
  const std::string text = table.describe();
  CHECK(text.find("linear_5120x5120_fp16: to 8 tokens stream_sm90, to 16 tokens gemm_sm90\n") !=
        std::string::npos);
}

TEST("DispatchTable refuses a tuner's entry that its kernel could not keep") {
  DispatchTable table({kHopper}), ampere({kAmpere});
  const auto choice = [](LinearKernel kernel) {
    LinearChoice made;
    made.kernel = kernel;
    return made;
  };
  constexpr const char* kRefusal = "Cannot tune a linear op";
  CHECK_ERROR(HEARTH_INVALID_ARGUMENT, kRefusal,
              table.set({DType::kF16, 64, 64, 1}, choice(LinearKernel::kExact)));
  CHECK_ERROR(HEARTH_INVALID_ARGUMENT, kRefusal,
              table.set({DType::kF32, 64, 64, 1}, choice(LinearKernel::kStreamSm90)));
  CHECK_ERROR(HEARTH_INVALID_ARGUMENT, kRefusal,
              table.set({DType::kF16, 64, 64, 128}, choice(LinearKernel::kStreamSm90)));
  CHECK_ERROR(HEARTH_INVALID_ARGUMENT, kRefusal,
              ampere.set({DType::kF16, 64, 64, 128}, choice(LinearKernel::kGemmSm90)));
  table.set({DType::kF16, 64, 64, 64}, choice(LinearKernel::kStreamSm80));
}

/// The largest steps of a model on a device of 132 multiprocessors.
RecordedSteps recorded_steps(int32_t num_kv_heads, int32_t max_context, int32_t sequences,
                             int32_t max_items) {
  StepSizes sizes;
  sizes.tokens = 2048;
  sizes.sequences = sequences;
  sizes.logits_rows = 128;
  sizes.kv.num_kv_heads = num_kv_heads;
  sizes.max_context = max_context;
  return RecordedSteps(sizes, max_items, 264);
}

TEST("RecordedSteps has every number of sequences, for short contexts and long, and not too many") {
  for (const int32_t num_kv_heads : {1, 2, 3, 8, 40}) {
    for (const int32_t max_context : {1, 512, 4096, 32768, 131072, 1 << 20}) {
      for (const int32_t sequences : {1, 3, 12, 100, 128, 300}) {
        for (const int32_t max_items : {1, 300, 3971, 1 << 20}) {
          const RecordedSteps steps =
              recorded_steps(num_kv_heads, max_context, sequences, max_items);
          CHECK(!steps.keys().empty() && steps.keys().size() <= kMostRecorded);
          CHECK(std::is_sorted(steps.keys().begin(), steps.keys().end()));
          CHECK(std::adjacent_find(steps.keys().begin(), steps.keys().end()) == steps.keys().end());
          for (const int32_t size : {1, 2, 3, 12, 49, 128}) {
            if (size > std::min(sequences, 128)) continue;
            const bool has =
                std::any_of(steps.keys().begin(), steps.keys().end(),
                            [&](const RecordKey& key) { return key.num_sequences >= size; });
            CHECK(has);
          }
          for (const RecordKey& key : steps.keys()) {
            CHECK(key.num_sequences <= sequences && key.max_chunks >= 1);
            CHECK(key.max_chunks == 1 || int64_t(key.num_sequences) * key.max_chunks <= max_items);
          }
        }
      }
    }
  }
}

TEST("RecordedSteps::find() pads decodes, and leaves other steps and longer contexts alone") {
  const RecordedSteps steps = recorded_steps(8, 131072, 128, 3971);
  const auto find = [&](int32_t count, int32_t context) {
    std::vector<int32_t> ids(size_t(count), 0), starts, rows, contexts(size_t(count), context);
    std::vector<SampleRow> samples;
    for (int32_t i = 0; i < count; ++i) {
      starts.push_back(i), rows.push_back(i), samples.push_back({i, 0, -1, 0, -1});
    }
    starts.push_back(count);
    StepInput input;
    input.token_ids = ids;
    input.query_start = starts;
    input.context_len = contexts;
    input.logits_tokens = rows;
    input.samples = samples;
    return steps.find(input);
  };
  CHECK_EQUAL(find(1, 100).num_sequences, 1);
  CHECK_EQUAL(find(1, 100).max_chunks, 1);
  CHECK_EQUAL(find(1, 131072).max_chunks, 256);
  CHECK_EQUAL(find(3, 100).num_sequences, 4);
  CHECK_EQUAL(find(128, 100).num_sequences, 128);
  CHECK(find(128, 100).max_chunks >= 1);
  CHECK(find(128, 131072) == kUnrecorded);  // one launch does not hold so many items
  CHECK(find(129, 100) == kUnrecorded);
}

TEST("token_bucket() is the next power of two, so that no border of choose_linear() is inside") {
  CHECK_EQUAL(token_bucket(1), 1);
  CHECK_EQUAL(token_bucket(3), 4);
  CHECK_EQUAL(token_bucket(kMaxWideStreamTokens), kMaxWideStreamTokens);
  CHECK_EQUAL(token_bucket(kMaxStreamTokens), kMaxStreamTokens);
  CHECK_EQUAL(token_bucket(kMaxStreamTokens + 1), 2 * kMaxStreamTokens);
}

TEST("RangeAllocator gives out every byte once, and joins what is freed") {
  std::mt19937 random(1);
  RangeAllocator pieces(1 << 16);
  std::vector<std::pair<size_t, size_t>> held;
  for (int round = 0; round < 2000; ++round) {
    if (random() % 2 == 0 || held.empty()) {
      const size_t bytes = 1 + random() % 5000;
      const auto offset = pieces.allocate(bytes);
      if (!offset) continue;
      CHECK_EQUAL(*offset % 256, 0u);
      CHECK(*offset + bytes <= 1 << 16);
      for (const auto& [other, size] : held) {
        CHECK(*offset + bytes <= other || other + size <= *offset);
      }
      held.push_back({*offset, bytes});
    } else {
      std::swap(held[random() % held.size()], held.back());
      pieces.free(held.back().first, held.back().second);
      held.pop_back();
    }
  }
  for (const auto& [offset, bytes] : held) pieces.free(offset, bytes);
  CHECK_EQUAL(pieces.num_free(), size_t(1) << 16);
  CHECK(pieces.allocate(1 << 16) == size_t(0));
  CHECK(!pieces.allocate(1));
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
  plan.make(decodes.input, 100);
  CHECK_EQUAL(plan.decodes.size(), 3u);  // 1 chunk and 2
  StepLayout layout = layout_of(decodes.input, plan, 16);
  layout.num_tokens = layout.num_sequences = layout.num_logits = layout.num_samples = 4;
  layout.num_batches = 1;
  layout.max_decodes = 4 * num_chunks(64 * 16);
  layout.rope_half = 3;
  CHECK_EQUAL(layout.num_blocks, 2u + 33u);
  StepView view;
  const size_t bytes = layout.place(nullptr, view);
  std::vector<std::byte> memory(bytes + 64, std::byte{0xee});
  pack_step(decodes.input, plan, {&decodes.rope, 1}, 16, layout, memory.data());
  for (size_t i = bytes; i < memory.size(); ++i) CHECK(memory[i] == std::byte{0xee});
  CHECK_EQUAL(layout.place(memory.data(), view), bytes);
  CHECK_EQUAL(view.token_ids[1], ~0);
  CHECK_EQUAL(view.kv_slots[1], 80);
  CHECK_EQUAL(*view.num_decodes, 3);
  CHECK_EQUAL(view.blocks_of(0)[0], 7);
  CHECK_EQUAL(view.blocks_of(0)[1], 2);
  CHECK(view.blocks_of(1) == view.blocks_of(0) + 2);  // no more than the context fills
  for (int32_t i = 0; i < 33; ++i) CHECK_EQUAL(view.blocks_of(1)[i], 10 + i);
  CHECK_EQUAL(view.samples[1].num_logprobs, 5);
  for (int32_t i = 2; i < 4; ++i) {  // padding
    CHECK_EQUAL(view.token_ids[i], 0);
    CHECK_EQUAL(view.kv_slots[i], -1);
    CHECK_EQUAL(view.context_len[i], 0);
    CHECK_EQUAL(view.query_start[i + 1], i + 1);
    CHECK_EQUAL(view.first_block[i], 0);
    CHECK(view.samples[i].sampler < 0 && view.samples[i].target < 0);
  }
  CHECK_EQUAL(packed_inv_freq(memory.data())[2], 0.25f);
  // Whatever the contexts, what a recorded step knows stays where it is.
  StepLayout longer = layout;
  longer.num_blocks = 5000;
  StepView other;
  longer.place(memory.data(), other);
  CHECK(other.blocks == view.blocks && other.samples == view.samples);
}

TEST("pack_step() of a step without sequences or samples stays within its memory") {
  const std::vector<int32_t> zeros(3, 0);
  StepInput input;
  input.token_ids = input.positions = input.kv_slots = zeros;
  AttentionPlan plan;
  plan.make(input, 100);
  CHECK(plan.decodes.empty() && plan.prefills.empty());
  const StepLayout layout = layout_of(input, plan, 16);
  StepView view;
  std::vector<std::byte> memory(layout.place(nullptr, view) + 16, std::byte{0xee});
  pack_step(input, plan, {}, 16, layout, memory.data());
  for (size_t i = memory.size() - 16; i < memory.size(); ++i) CHECK(memory[i] == std::byte{0xee});
}

}  // namespace
}  // namespace hearth::test

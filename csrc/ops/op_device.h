// What an op of hearth_ops.h needs around it: checks, a backend with its memory, a step and its
// time.
#pragma once

#include <algorithm>
#include <chrono>
#include <memory>
#include <vector>

#include "../abi_border.h"
#include "../backend/backend.h"
#include "../backend/page_table.h"
#include "../error.h"
#include "../hearth_ops.h"

namespace hearth {

/// Sizes beyond are a mistake of the caller.
inline constexpr uint32_t kMaxOpSize = 1 << 24;

/// Throws Error(HEARTH_INVALID_ARGUMENT) unless least <= value <= most.
void require_within(const char* field, int64_t value, int64_t least, int64_t most);

template <class Struct>
void require_size(const Struct* value, const char* name) {
  if (value == nullptr) refuse("Cannot run op", name, "not be NULL");
  require_within("size", value->size, sizeof(Struct), sizeof(Struct));
}

/// Throws Error for a context that names no CPU backend.
CpuOptions cpu_options(const hearth_op_context& context);
/// Throws Error for a context that names no backend that is there.
Backend make_backend(const hearth_op_context& context);

/// A backend, and memory on it that is freed with it.
class OpDevice {
 public:
  explicit OpDevice(const hearth_op_context& context);
  OpDevice(const OpDevice&) = delete;
  OpDevice& operator=(const OpDevice&) = delete;

  std::byte* bytes(size_t size);
  /// [rows, cols] of the caller; from null: NaN.
  Tensor tensor(uint32_t rows, uint32_t cols, const float* from);
  /// null: null
  const float* vector(uint32_t count, const float* from);
  NormView norm(uint32_t kind, uint32_t size, float eps, const float* weight, const float* bias);
  /// Packs rows as in a file, in several pages, of which the first holds something else before.
  WeightView weight(uint32_t dtype, uint32_t rows, uint32_t cols, const uint8_t* source);
  void download(const Tensor& tensor, float* to) const;

  Device& device() const { return *backend.device; }
  Ops& ops() const { return *backend.ops; }

  const Backend backend;

 private:
  std::vector<Memory> allocated_;
  std::vector<std::unique_ptr<PageTable>> tables_;
};

/// Where an op writes: a plain tensor or, with context.operand_outputs, an operand that a linear op
/// with a weight of ones and zeros turns into one.
class OpOutput {
 public:
  /// dtype: of the op's weights or of its KV, which the operand's follows.
  OpOutput(OpDevice& device, const hearth_op_context& context, uint32_t dtype, uint32_t rows,
           uint32_t cols);

  /// For the op to write.
  Tensor tensor() const { return operand_.data != nullptr ? operand_ : plain_; }
  /// Behind the op, in the same step. written: what the op has returned.
  void finish(Ops& ops, const Tensor& written) const;
  /// After the step.
  void download(float* to) const { device_.download(plain_, to); }

 private:
  const OpDevice& device_;
  Tensor plain_, operand_;
  LinearView ones_;
};

/// Runs `op` context.repeats times as a step of its own and notes how long that took. Returns the
/// last step's results.
template <class Op>
StepResult run_steps(hearth_op_context& context, Ops& ops, const StepInput& input,
                     std::span<const RopeView> ropes, const KvCache& kv, Op&& op) {
  StepResult result;
  std::vector<uint64_t> times(std::max<uint32_t>(context.repeats, 1));
  for (uint64_t& time : times) {
    const auto begin = std::chrono::steady_clock::now();
    ops.begin_step(input, ropes, kv, StepUse::kOnce);
    op();
    ops.end_step();
    result = ops.finish_step();
    time = uint64_t((std::chrono::steady_clock::now() - begin) / std::chrono::nanoseconds(1));
  }
  std::sort(times.begin(), times.end());
  context.best_ns = times.front();
  context.median_ns = times[times.size() / 2];
  return result;
}

}  // namespace hearth

// A page of weights moves between two linear ops: the op behind the move reads the new content, the
// op ahead of it the old one, by every kernel, launched or recorded.
//
//   ops      | reads page at A |                        wait_for | reads page at B |
//                        mark ─┐                            ▲
//   copies                     └ copy to B ─ set the entry ─┘
//
// Kernels read the page table and weights before griddepcontrol.wait (ptx.cuh): only full edges
// hold them back. Gates stand where a kernel or a copy may take its time, and each edge is also
// left out once: then the op must be seen to read the wrong content, or the check could not fail.
#include <algorithm>
#include <optional>

#include "backend/cuda/recorder.h"
#include "backend/page_table.h"
#include "gate.h"
#include "gpu_tests.h"
#include "inputs.h"
#include "linear_kernels.h"
#include "operand.h"
#include "weights.h"

namespace hearth::gpu_tests {
namespace {

using namespace hearth::cuda;

constexpr int32_t kTokens = 5, kRows = 2048, kCols = 4096;  // a page of 16 MiB
constexpr SourceFormat kFormat = SourceFormat::kF16;
constexpr uint32_t kInputSeed = 70;
using Rows = std::vector<uint32_t>;  // bits of float[kTokens, kRows]

/// A weight of one page, two contents and two places on the device.
class MovingWeight {
 public:
  explicit MovingWeight(CudaDevice& device) : device_(device), table_(device, 1) {
    for (int i = 0; i < 2; ++i) {
      const FileWeight weight(kFormat, kRows, kCols, 60 + i);
      const std::vector<std::byte> packed =
          pack_strips(weight.layout, weight.bytes, 0, weight.num_strips());
      contents_[i] = device.allocate(packed.size(), Tier::kHost);
      std::copy(packed.begin(), packed.end(), contents_[i].data());
      places_[i] = device.allocate(packed.size());
      view_.layout = weight.layout;
    }
    view_.pages = table_.entry(0);
    view_.first_tiles = view_.layout.num_tiles();
    put(0);
  }

  const WeightView& view() const { return view_; }

  /// Content i lies at place i, and the other place is poisoned, once this returns.
  void put(int i) {
    device_.wait(move(i, i, device_.mark()));
    fill(device_, places_[1 - i], 0xff);
    finish(device_, "poison");
  }
  /// Copies a content to a place once `after` is done; then the table says that it lies there.
  Ticket move(int content, int place, Ticket after) {
    std::byte* const address = places_[place].data();
    const Memory& from = contents_[content];
    return table_.set(0, {&address, 1}, device_.copy(address, from.data(), from.bytes(), after));
  }

 private:
  CudaDevice& device_;
  PageTable table_;
  WeightView view_;
  Memory contents_[2], places_[2];
};

/// A linear op over the weight by one kernel, as launches or as one recorded step.
class Op {
 public:
  Op(CudaDevice& device, const MovingWeight& weight, LinearKernel kernel, bool is_recorded)
      : device_(device), weight_(weight), recorder_(device.stream()) {
    choice_.kernel = kernel;
    choice_.bet_bytes = 0;  // on a place that the page may have left
    if (kernel == LinearKernel::kExact) {
      std::vector<float> x;
      for (int i = 0; i < kTokens * kCols; ++i) x.push_back(exact_half(kInputSeed, i));
      input_ = upload(device, x);
    } else {
      input_ = upload(device, make_operand(DType::kF16, kTokens, kCols, [](int t, int32_t c) {
                        return exact_half(kInputSeed, t * kCols + c);
                      }));
    }
    for (Memory& out : outs_) out = poisoned(device, kTokens * kRows * sizeof(float));
    if (!is_recorded) return;
    // What is recorded runs once before: a module that comes while a gate is closed would wait.
    launch(outs_[0]);
    finish(device, "linear");
    if (!recorder_.begin()) throw Error(HEARTH_INTERNAL, "Cannot record an op");
    launch(outs_[0]);
    launch(outs_[1]);  // behind a kernel of the same graph, too
    recorder_.end(kKey);
    if (!recorder_.has(kKey)) throw Error(HEARTH_INTERNAL, "Cannot record an op");
  }

  /// Enqueues the op, twice.
  void run() {
    if (recorder_.has(kKey)) return recorder_.launch(kKey);
    launch(outs_[0]);
    launch(outs_[1]);
  }
  /// What the last run made; then it is poisoned. Nothing where its two launches differ.
  std::optional<Rows> take() {
    Rows results[2];
    for (int i = 0; i < 2; ++i) {
      results[i] = download<uint32_t>(device_, outs_[i]);
      fill(device_, outs_[i], 0xff);
    }
    finish(device_, "linear");
    if (results[0] != results[1]) return std::nullopt;
    return results[0];
  }

 private:
  static constexpr RecordKey kKey{1, 1};

  void launch(const Memory& out) {
    LinearOp args;
    args.x = input_.data();
    args.rows = kTokens;
    args.cols = kCols;
    args.guess = guess_pages(weight_.view());
    args.outputs[0].weight = WeightRef(weight_.view());
    args.outputs[0].out = out.data();
    run_linear(device_.stream(), choice_, DType::kF16, args);
  }

  CudaDevice& device_;
  const MovingWeight& weight_;
  Recorder recorder_;
  LinearChoice choice_;
  Memory input_, outs_[2];
};

/// Moves of a weight under one op. Each begins with content 0 at place 0.
class Moves {
 public:
  Moves(CudaDevice& device, MovingWeight& weight, Op& op, std::string what)
      : device_(device), weight_(weight), op_(op), what_(std::move(what)) {
    for (const int i : {0, 1}) {
      weight_.put(i);
      op_.run();
      const std::optional<Rows> rows = op_.take();
      if (!rows) throw Error(HEARTH_INTERNAL, what_ + ": an op has two results");
      expected_[i] = *rows;
    }
    if (expected_[0] == expected_[1]) {
      throw Error(HEARTH_INTERNAL, what_ + ": both contents have the same results");
    }
  }

  /// An op behind a copy that is held back waits for it.
  void late_copy() {
    weight_.put(0);
    Gate gate(device_);
    device_.wait_for(weight_.move(1, 1, gate.hold_copies()));
    op_.run();
    expect(is_held_back(device_, device_.mark()), "an op did not wait for the move of its page");
    gate.open();
    expect_content(1, "behind a late copy");
  }

  /// A move behind an op that is held back waits for it, and the op reads the old content.
  void late_op() {
    weight_.put(0);
    Gate gate(device_);
    gate.hold_ops();
    op_.run();
    const Ticket moved = weight_.move(1, 1, device_.mark());
    expect(is_held_back(device_, moved), "a page moved under an op that reads it");
    gate.open();
    expect_content(0, "ahead of the move");
    device_.wait_for(moved);
    op_.run();
    expect_content(1, "behind the move");
  }

  /// Copies of 16 MiB and ops that take the time they take. Each place has had the other content.
  void back_and_forth() {
    weight_.put(0);
    for (int i = 1; i <= 16; ++i) {
      const int content = i / 2 % 2;
      op_.run();
      device_.wait_for(weight_.move(content, i % 2, device_.mark()));
      op_.run();
      expect_content(content, "behind one of many moves");
    }
  }

  /// Without wait_for() the op is seen to read the old content.
  void without_wait_for() {
    weight_.put(0);
    Gate gate(device_);
    const Ticket moved = weight_.move(1, 1, gate.hold_copies());
    op_.run();
    device_.wait(device_.mark());
    gate.open();
    device_.wait(moved);
    expect_content(0, "without wait_for()");
  }

  /// Without `after` the op is seen to read the new content.
  void without_after() {
    weight_.put(0);
    Gate gate(device_);
    gate.hold_ops();
    op_.run();
    device_.wait(weight_.move(1, 1, {}));
    gate.open();
    expect_content(1, "without `after`");
  }

 private:
  void expect(bool condition, const char* fault) {
    if (!condition) fail("%s: %s", what_.c_str(), fault);
  }
  void expect_content(int i, const char* when) {
    const std::optional<Rows> rows = op_.take();
    if (rows == expected_[i]) return;
    fail("%s: an op %s read %s", what_.c_str(), when,
         rows == expected_[1 - i] ? "the other content" : "neither content");
  }

  CudaDevice& device_;
  MovingWeight& weight_;
  Op& op_;
  const std::string what_;
  Rows expected_[2];
};

}  // namespace

void check_pages(CudaDevice& device, const Options& options) {
  if (options.reduced) {
    std::printf(
        "pages: not with --reduced: a tool that runs one thing at a time would wait at a "
        "gate for ever\n");
    return;
  }
  std::vector<LinearKernel> kernels = {LinearKernel::kExact};
  if (device.stream().has_tensor_cores()) {
    kernels.insert(kernels.end(), {LinearKernel::kStreamSm80, LinearKernel::kGemmSm80});
  }
  if (device.stream().is_hopper()) {
    kernels.insert(kernels.end(), {LinearKernel::kStreamSm90, LinearKernel::kGemmSm90});
  }
  MovingWeight weight(device);
  for (const LinearKernel kernel : kernels) {
    if (is_listed(options.skip, kernel_name(kernel))) continue;
    for (const bool is_recorded : {false, true}) {
      const std::string what =
          format("pages %s%s", kernel_name(kernel), is_recorded ? ", recorded" : "");
      note(what);
      Op op(device, weight, kernel, is_recorded);
      Moves moves(device, weight, op, what);
      moves.late_copy();
      moves.late_op();
      moves.back_and_forth();
      moves.without_wait_for();
      moves.without_after();
    }
  }
  std::printf("pages: moved under %zu kernels, launched and recorded\n", kernels.size());
  std::fflush(stdout);
}

}  // namespace hearth::gpu_tests

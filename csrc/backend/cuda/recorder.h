// Steps recorded as CUDA graphs, so that one launch stands for some hundred.
//
// DESIGN
//   When      Recording takes milliseconds and memory: it happens in warm-up steps, which run
//             nothing. A live step takes what is there, or is launched kernel by kernel.
//   Key       The number of sequences, each with one token, and the chunks of their contexts at most,
//             both rounded up: they decide every address in step memory, and every grid. Attention of
//             short contexts must not launch the CTAs of long ones: that costs 2 us a layer.
//   Most      kMost graphs; the one that was used least comes out first.
//   Failure   A shape that cannot be recorded is left alone: its steps are launched kernel by kernel.
#pragma once

#include <compare>
#include <map>

#include "device.h"

namespace hearth::cuda {

struct RecordKey {
  int32_t num_sequences;
  int32_t max_chunks;  // of a context

  auto operator<=>(const RecordKey&) const = default;
};

class Recorder {
 public:
  static constexpr size_t kMost = 32;

  explicit Recorder(Stream& stream) : stream_(stream) {}
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  /// What is launched from now on is recorded and does not run. False where it runs all the same.
  bool begin();
  /// Keeps what was recorded for `key`, or nothing where that fails.
  void end(const RecordKey& key);
  /// Drops what was recorded since begin(), if it was: an op has thrown.
  void abandon();
  bool is_recording() const { return is_recording_; }

  bool has(const RecordKey& key) const { return graphs_.contains(key); }
  /// Launches what was recorded for a key that has() it.
  void launch(const RecordKey& key);
  size_t num_recorded() const { return graphs_.size(); }

 private:
  struct Recorded {
    cudaGraphExec_t graph = nullptr;
    uint64_t num_launches = 0;
    uint64_t num_uses = 0;
  };

  void drop_least_used();

  Stream& stream_;
  std::map<RecordKey, Recorded> graphs_;
  bool is_recording_ = false;
  uint64_t launches_before_ = 0;
};

}  // namespace hearth::cuda

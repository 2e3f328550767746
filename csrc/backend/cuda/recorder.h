// Steps recorded as CUDA graphs, so that one launch stands for some hundred.
//
// DESIGN
//   When      Recording takes milliseconds and memory: it happens in warm-up steps, which run
//             nothing. A live step takes what is there, or is launched kernel by kernel.
//   Key       The number of sequences, each with one token, padded up. Everything else that a
//             recorded step reads lies in step memory, at addresses that the key alone decides.
//   Most      kMost graphs; the one that was used least comes out first.
//   Failure   A shape that cannot be recorded is left alone: its steps are launched kernel by kernel.
#pragma once

#include <map>
#include <optional>

#include "device.h"

namespace hearth::cuda {

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
  void end(int32_t key);
  /// Drops what was recorded since begin(), if it was: an op has thrown.
  void abandon();
  bool is_recording() const { return is_recording_; }

  bool has(int32_t key) const { return graphs_.contains(key); }
  /// Launches what was recorded for a key that has() it.
  void launch(int32_t key);
  size_t num_recorded() const { return graphs_.size(); }

 private:
  struct Recorded {
    cudaGraphExec_t graph = nullptr;
    uint64_t num_launches = 0;
    uint64_t num_uses = 0;
  };

  void drop_least_used();

  Stream& stream_;
  std::map<int32_t, Recorded> graphs_;
  bool is_recording_ = false;
  uint64_t launches_before_ = 0;
};

}  // namespace hearth::cuda

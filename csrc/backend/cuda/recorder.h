// Steps recorded as CUDA graphs, so that one launch stands for some hundred.
//
// DESIGN
//   When      Recording takes milliseconds and memory: it happens in warm-up steps, which run
//             nothing. A live step takes what is there, or is launched kernel by kernel.
//   Most      kMostRecorded graphs; the one that was used least comes out first.
//   Failure   A shape that cannot be recorded is left alone: its steps are launched kernel by
//             kernel.
#pragma once

#include <atomic>
#include <map>

#include "device.h"
#include "recorded_steps.h"

namespace hearth::cuda {

class Recorder {
 public:
  explicit Recorder(Stream& stream) : stream_(stream) {}
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  /// What is launched from now on is recorded and does not run. False where that cannot begin.
  bool begin();
  /// Keeps what was recorded for `key`, or nothing where that fails.
  void end(const RecordKey& key);
  /// Drops what was recorded since begin(), if it was: an op has thrown.
  void abandon();
  bool is_recording() const { return is_recording_; }

  bool has(const RecordKey& key) const { return graphs_.contains(key); }
  /// Launches what was recorded for a key that has() it.
  void launch(const RecordKey& key);
  /// Any thread.
  size_t num_recorded() const { return num_recorded_; }

 private:
  struct Recorded {
    cudaGraphExec_t graph = nullptr;
    uint64_t num_launches = 0;
    uint64_t num_uses = 0;
  };

  void drop_least_used();

  Stream& stream_;
  std::map<RecordKey, Recorded> graphs_;
  std::atomic<size_t> num_recorded_{0};
  bool is_recording_ = false;
  uint64_t launches_before_ = 0;
};

}  // namespace hearth::cuda

// Host to device through a few pinned pieces: pageable memory would be copied by one thread of the
// driver at a seventh of the link's speed.
#pragma once

#include <condition_variable>
#include <mutex>
#include <vector>

#include "device.h"

namespace hearth::cuda {

class UploadRing {
 public:
  /// Pieces are pinned when first needed. Callers may be many threads of the current device.
  explicit UploadRing(int device) : device_(device) {}
  ~UploadRing();

  /// Returns when `host` may be reused and the device has the bytes.
  void upload(std::byte* device, const void* host, size_t bytes);

 private:
  static constexpr size_t kPieceBytes = 4 << 20;
  static constexpr int kPieces = 16;

  struct Piece {
    PinnedBuffer memory;
    cudaStream_t stream = nullptr;
  };

  Piece take();
  void give(Piece piece);

  const int device_;
  std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<Piece> free_;
  int num_made_ = 0;
};

}  // namespace hearth::cuda

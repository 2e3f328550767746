#include "upload_ring.h"

#include <algorithm>
#include <cstring>

namespace hearth::cuda {

UploadRing::~UploadRing() {
  for (Piece& piece : free_) cudaStreamDestroy(piece.stream);
}

UploadRing::Piece UploadRing::take() {
  std::unique_lock lock(mutex_);
  if (free_.empty() && num_made_ < kPieces) {
    ++num_made_;
    lock.unlock();
    try {
      Piece piece;
      piece.memory = PinnedBuffer(kPieceBytes);
      check(cudaStreamCreateWithFlags(&piece.stream, cudaStreamNonBlocking),
            "Cannot create a stream");
      return piece;
    } catch (...) {
      lock.lock();
      --num_made_;
      throw;
    }
  }
  returned_.wait(lock, [this] { return !free_.empty(); });
  Piece piece = std::move(free_.back());
  free_.pop_back();
  return piece;
}

void UploadRing::give(Piece piece) {
  const std::lock_guard lock(mutex_);
  free_.push_back(std::move(piece));
  returned_.notify_one();
}

void UploadRing::upload(std::byte* device, const void* host, size_t bytes) {
  if (bytes == 0) return;
  check(cudaSetDevice(device_), "Cannot use the device");
  Piece piece = take();
  cudaError_t status = cudaSuccess;
  for (size_t done = 0; done < bytes && status == cudaSuccess; done += kPieceBytes) {
    const size_t size = std::min(kPieceBytes, bytes - done);
    std::memcpy(piece.memory.data(), static_cast<const std::byte*>(host) + done, size);
    status = cudaMemcpyAsync(device + done, piece.memory.data(), size, cudaMemcpyHostToDevice,
                             piece.stream);
    if (status == cudaSuccess) status = cudaStreamSynchronize(piece.stream);
  }
  give(std::move(piece));
  check(status, "Cannot copy to the device");
}

}  // namespace hearth::cuda

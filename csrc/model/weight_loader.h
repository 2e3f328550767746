// Fills packed tiles from files: many threads, each with pieces of its own.
//
// DESIGN
//   Piece    Rows of a few tiles on their way: read into host memory that the device copies from at
//            full speed, copied, and packed on the device. A thread reads into one of its pieces
//            while the device works on the other.
//
//              file ──read──▶ staging (host) ──copy──▶ scratch (device) ──pack──▶ tiles (device)
//
//            Rows of a format that no kernel takes are decoded on their way into staging.
//   Order    Any: a tile's bytes depend on its rows alone. A piece is filled again when the ticket
//            of its last pack is done, and freed no sooner, whatever has failed.
//   Waiting  A thread waits for its own tickets only, so that no failure of another can hold it up.
#pragma once

#include <atomic>
#include <vector>

#include "../backend/backend.h"
#include "tensor_table.h"
#include "weights_file.h"

namespace hearth {

/// Consecutive tiles of one tensor, and where they belong.
struct WeightRun {
  const TensorSource* tensor;
  const WeightLayout* layout;
  int32_t first_tile;
  int32_t num_tiles;
  std::byte* tiles;  // device

  /// Bytes of their rows in the file.
  uint64_t file_bytes() const;
  /// The same as the packer takes them.
  uint64_t packer_bytes() const;
};

class WeightLoader {
 public:
  WeightLoader(Backend& backend, const std::vector<WeightsFile>& files,
               std::atomic<uint64_t>& bytes_loaded, const std::atomic<bool>& cancelled)
      : backend_(backend), files_(files), bytes_loaded_(bytes_loaded), cancelled_(cancelled) {}

  /// Fills all runs with num_threads threads, adding to bytes_loaded as it goes; returns early
  /// where cancelled turns true. Throws Error: IO_ERROR, OUT_OF_MEMORY, and what copies throw.
  void load(const std::vector<WeightRun>& runs, int32_t num_threads) const;
  /// Makes random weights instead. Throws Error as copies do.
  void randomize(const std::vector<WeightRun>& runs, const TensorSource* first_tensor) const;

 private:
  class Thread;

  Backend& backend_;
  const std::vector<WeightsFile>& files_;
  std::atomic<uint64_t>& bytes_loaded_;
  const std::atomic<bool>& cancelled_;
};

}  // namespace hearth

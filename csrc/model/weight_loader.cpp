#include "weight_loader.h"

#include <algorithm>
#include <array>
#include <exception>
#include <mutex>
#include <thread>

namespace hearth {
namespace {

/// Of rows that a thread reads at a time: enough for a copy to reach the link's speed, few enough
/// that what all threads have under way stays in the CPU's last cache.
constexpr size_t kPieceBytes = 2u << 20;
/// Beyond, a file in the page cache is not read faster, and their pieces take time to lock.
constexpr int32_t kMaxThreads = 32;

size_t file_row_bytes(const WeightRun& run) {
  return row_bytes(run.tensor->format, run.tensor->cols);
}

size_t packer_row_bytes(const WeightRun& run) {
  return row_bytes(run.layout->source, run.tensor->cols);
}

int32_t num_rows(const WeightRun& run) {
  const int32_t tile_rows = run.layout->tile_rows;
  return std::min(run.num_tiles * tile_rows, run.tensor->rows - run.first_tile * tile_rows);
}

/// Tiles whose rows fill a piece.
int32_t tiles_of_piece(const WeightRun& run) {
  return std::max<int32_t>(
      1, int32_t(kPieceBytes / (size_t(run.layout->tile_rows) * packer_row_bytes(run))));
}

/// The runs cut into pieces.
std::vector<WeightRun> cut(const std::vector<WeightRun>& runs) {
  std::vector<WeightRun> pieces;
  for (const WeightRun& run : runs) {
    const int32_t step = tiles_of_piece(run);
    for (int32_t tile = 0; tile < run.num_tiles; tile += step) {
      WeightRun piece = run;
      piece.first_tile += tile;
      piece.num_tiles = std::min(step, run.num_tiles - tile);
      piece.tiles += size_t(tile) * run.layout->tile_bytes;
      pieces.push_back(piece);
    }
  }
  return pieces;
}

/// Work that is under way on a device, in whichever of its queues: none is left when this goes,
/// whatever has failed.
class Tickets {
 public:
  explicit Tickets(Device& device) : device_(device) {}
  ~Tickets() {
    for (const Ticket ticket : tickets_) {
      try {
        device_.wait(ticket);
      } catch (...) {  // told already, or another failure came first
      }
    }
  }
  Tickets(const Tickets&) = delete;
  Tickets& operator=(const Tickets&) = delete;

  void add(Ticket ticket) { tickets_.push_back(ticket); }
  /// Throws what failed on the device.
  void wait() const {
    for (const Ticket ticket : tickets_) device_.wait(ticket);
  }

 private:
  Device& device_;
  std::vector<Ticket> tickets_;
};

}  // namespace

uint64_t WeightRun::file_bytes() const { return num_rows(*this) * file_row_bytes(*this); }
uint64_t WeightRun::packer_bytes() const { return num_rows(*this) * packer_row_bytes(*this); }

/// One thread's pieces.
class WeightLoader::Thread {
 public:
  /// scratch: device memory, 2 * piece_bytes.
  Thread(Backend& backend, std::byte* scratch, size_t piece_bytes)
      : backend_(backend), staging_(backend.device->allocate(2 * piece_bytes, Tier::kHost)) {
    for (size_t i = 0; i < pieces_.size(); ++i) {
      pieces_[i] = {staging_.data() + i * piece_bytes, scratch + i * piece_bytes, {}};
    }
  }
  ~Thread() {
    for (const Piece& piece : pieces_) {
      try {
        backend_.device->wait(piece.packed);
      } catch (...) {  // told already, or another failure came first
      }
    }
  }
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;

  void load(const WeightRun& run, const WeightsFile& file) {
    Piece& piece = pieces_[next_++ % pieces_.size()];
    backend_.device->wait(piece.packed);
    read(run, file, piece.staging);
    const Ticket copied = backend_.device->copy(piece.scratch, piece.staging, run.packer_bytes());
    piece.packed = copied;
    piece.packed =
        backend_.packer->pack(*run.layout, piece.scratch, num_rows(run), run.tiles, copied);
  }

  /// The run's rows, as the packer takes them.
  void read(const WeightRun& run, const WeightsFile& file, std::byte* rows) {
    const uint64_t first_row = uint64_t(run.first_tile) * run.layout->tile_rows;
    const uint64_t offset = run.tensor->offset + first_row * file_row_bytes(run);
    if (!needs_decoding(run.tensor->format)) return file.read(offset, run.file_bytes(), rows);
    undecoded_.resize(run.file_bytes());
    file.read(offset, undecoded_.size(), undecoded_.data());
    decode_rows(run.tensor->format, undecoded_.data(), undecoded_.size(), rows);
  }

  /// Throws what failed on the device.
  void finish() {
    for (const Piece& piece : pieces_) backend_.device->wait(piece.packed);
  }

 private:
  struct Piece {
    std::byte* staging;
    std::byte* scratch;
    Ticket packed;  // or, where pack() threw, copied
  };

  Backend& backend_;
  Memory staging_;
  std::array<Piece, 2> pieces_;
  size_t next_ = 0;
  std::vector<std::byte> undecoded_;
};

void WeightLoader::load(const std::vector<WeightRun>& runs, int32_t num_threads) const {
  const std::vector<WeightRun> pieces = cut(runs);
  size_t piece_bytes = 0;
  for (const WeightRun& piece : pieces) piece_bytes = std::max(piece_bytes, piece.packer_bytes());
  piece_bytes = (piece_bytes + 255) / 256 * 256;
  num_threads =
      std::clamp<int32_t>(std::min(num_threads, kMaxThreads), 1, int32_t(pieces.size()) + 1);
  const Memory scratch = backend_.device->allocate(2 * piece_bytes * num_threads);

  std::atomic<size_t> next{0};
  std::mutex failure_mutex;
  std::exception_ptr failure;
  const auto work = [&](int32_t index) {
    try {
      Thread thread(backend_, scratch.data() + 2 * piece_bytes * index, piece_bytes);
      for (size_t i = next++; i < pieces.size() && !cancelled_; i = next++) {
        thread.load(pieces[i], files_[pieces[i].tensor->file]);
        bytes_loaded_ += pieces[i].file_bytes();
      }
      thread.finish();
    } catch (...) {
      next = pieces.size();
      const std::lock_guard lock(failure_mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> helpers;
    for (int32_t i = 1; i < num_threads; ++i) helpers.emplace_back(work, i);
    work(0);
  }
  if (failure) std::rethrow_exception(failure);
}

void WeightLoader::randomize(const std::vector<WeightRun>& runs,
                             const TensorSource* first_tensor) const {
  Tickets tickets(*backend_.device);
  for (const WeightRun& run : runs) {
    if (cancelled_) break;
    // Equal numbers in all pages of a tensor would make rows of it equal.
    const uint64_t seed = uint64_t(run.tensor - first_tensor) << 32 | uint32_t(run.first_tile);
    tickets.add(backend_.packer->randomize(*run.layout, run.tiles, run.num_tiles, seed));
    bytes_loaded_ += run.file_bytes();
  }
  tickets.wait();
}

}  // namespace hearth

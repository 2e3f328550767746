#include "ceilings.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "../../error.h"
#include "kernels.h"

namespace hearth {
namespace {

constexpr int kPasses = 8;

template <class Pass>
double best_seconds(const Pass& pass) {
  double best = 1e9;
  for (int i = 0; i < kPasses; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    pass();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    best = std::min(best, took.count());
  }
  return best;
}

}  // namespace

double measure_read_bandwidth(ThreadPool& pool, size_t bytes) {
  constexpr size_t kPiece = 256 << 10, kHugePage = 2 << 20;
  const size_t size = std::max<size_t>(bytes / kHugePage, 1) * kHugePage;
  const std::unique_ptr<std::byte, decltype(&std::free)> buffer(
      static_cast<std::byte*>(std::aligned_alloc(kHugePage, size)), &std::free);
  if (buffer == nullptr) {
    throw Error(HEARTH_OUT_OF_MEMORY,
                format("Cannot measure read bandwidth: no memory for %zu bytes", size));
  }
  madvise(buffer.get(), size, MADV_HUGEPAGE);
  std::memset(buffer.get(), 1, size);

  const Kernels& kernels = kernels_of(best_isa());
  const double seconds = best_seconds([&] {
    WorkQueue pieces(int32_t(size / kPiece), 1);
    pool.run([&](int) {
      for (int32_t piece, end; pieces.take(piece, end);) {
        kernels.read(buffer.get() + size_t(piece) * kPiece, kPiece);
      }
    });
  });
  return double(size) / seconds;
}

double measure_int8_peak(ThreadPool& pool, Isa isa) {
  constexpr int32_t kRepeats = 400'000;
  const Kernels& kernels = kernels_of(isa);
  std::atomic<double> operations = 0;
  const double seconds = best_seconds([&] {
    WorkQueue shares(pool.size(), 1);
    pool.run([&](int) {
      for (int32_t share, end; shares.take(share, end);) operations = kernels.int8_peak(kRepeats);
    });
  });
  return operations * pool.size() / seconds;
}

}  // namespace hearth

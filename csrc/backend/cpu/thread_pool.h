// Threads that run one op at a time, together with the thread that calls.
//
// DESIGN
//   An op is one run(): the caller opens the gate, takes part as thread 0, closes the gate and
//   waits for the workers that came in. A worker that comes late (asleep, or its core taken by
//   JavaScript) is not waited for: the others have done its share, since all work is handed out by
//   a WorkQueue. A forward pass has some 200 ops, so both waits spin first, and give their core up
//   (futex) only after kSpin: between two ops less than that passes, while an idle pool must leave
//   the cores to others.
//   Order      A worker raises num_inside_, then looks at the gate; the caller closes the gate,
//              then looks at num_inside_. Both are sequentially consistent, so that one of the two
//              sees the other: no worker runs a job whose run() has returned. The gate's opening
//              publishes the job and all that was written before; leaving publishes what the worker
//              wrote.
//   Thread     One thread at a time calls run(); jobs must not call it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <thread>
#include <utility>
#include <vector>

namespace hearth {

/// Cores that this process may use: its affinity mask, and the cgroup's share rounded up.
int usable_cores();

class ThreadPool {
 public:
  /// num_threads counts the caller: num_threads - 1 are started. At least 1. Throws
  /// Error(HEARTH_OUT_OF_MEMORY) where the system starts fewer.
  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return int(workers_.size()) + 1; }

  /// Calls job(0) here and job(thread) on those workers that come in time; returns when all of
  /// these are done. Any of them alone must be able to do all the work (WorkQueue). Where job
  /// throws, on whatever thread, so does run(), once all have left it.
  template <class Job>
  void run(Job&& job) {
    if (workers_.empty()) {
      job(0);
      return;
    }
    const auto guarded = [this, &job](int thread) {
      try {
        job(thread);
      } catch (...) {
        if (!failed_.exchange(true)) failure_ = std::current_exception();
      }
    };
    using Guarded = decltype(guarded);
    open([](const void* callable, int thread) { (*static_cast<Guarded*>(callable))(thread); },
         &guarded);
    guarded(0);
    close();
    if (failed_.exchange(false)) std::rethrow_exception(std::exchange(failure_, nullptr));
  }

 private:
  // How long a waiting thread spins before it sleeps. Waking one costs 5 to 50 us.
  static constexpr std::chrono::microseconds kSpin{40};

  void open(void (*call)(const void*, int), const void* job);
  void close();
  void stop();
  void work(int thread);
  static void wait_while_equal(const std::atomic<uint32_t>& value, uint32_t old);
  static bool is_open(uint32_t gate) { return gate & 1; }

  void (*call_)(const void*, int) = nullptr;  // null: leave
  const void* job_ = nullptr;
  std::atomic<bool> failed_{false};
  std::exception_ptr failure_;  // of the thread that set failed_
  // On lines of their own: workers poll the first while others write the second.
  alignas(64) std::atomic<uint32_t> gate_{0};  // rises by one with each opening (odd) and closing
  alignas(64) std::atomic<uint32_t> num_inside_{0};
  alignas(64) std::vector<std::thread> workers_;
};

/// Hands the numbers 0 .. count - 1 out in runs of `grain`, first come, first served: a thread that
/// loses its core for a while holds the others up by one run at most.
class WorkQueue {
 public:
  WorkQueue(int32_t count, int32_t grain) : count_(count), grain_(grain) {}

  /// Takes [begin, end); false when nothing is left. The work must not depend on who takes it.
  bool take(int32_t& begin, int32_t& end) {
    begin = next_.fetch_add(grain_, std::memory_order_relaxed);
    end = begin + grain_ < count_ ? begin + grain_ : count_;
    return begin < count_;
  }

 private:
  alignas(64) std::atomic<int32_t> next_{0};
  const int32_t count_;
  const int32_t grain_;
};

}  // namespace hearth

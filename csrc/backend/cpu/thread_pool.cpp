#include "thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "../../error.h"

namespace hearth {
namespace {

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Cores' worth of time that the cgroup grants; infinity without a limit.
double cgroup_cores() {
  double quota = 0, period = 0;
  // Version 2 says "max 100000" where there is no limit, version 1 "-1".
  if (std::ifstream("/sys/fs/cgroup/cpu.max") >> quota >> period) return quota / period;
  std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") >> quota;
  std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_period_us") >> period;
  return quota > 0 && period > 0 ? quota / period : INFINITY;
}

}  // namespace

int usable_cores() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  const bool known = sched_getaffinity(0, sizeof cores, &cores) == 0;
  const int allowed = known ? CPU_COUNT(&cores) : int(std::thread::hardware_concurrency());
  return std::max(1, int(std::min<double>(allowed, std::ceil(cgroup_cores()))));
}

ThreadPool::ThreadPool(int num_threads) {
  try {
    for (int thread = 1; thread < num_threads; ++thread) {
      workers_.emplace_back([this, thread] { work(thread); });
    }
  } catch (const std::exception& failure) {
    const size_t started = workers_.size();
    stop();
    throw Error(HEARTH_OUT_OF_MEMORY,
                format("Cannot start %d compute threads: only %zu could be started (%s), a smaller "
                       "num_threads needs fewer",
                       num_threads, started + 1, failure.what()));
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  open(nullptr, nullptr);
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::open(void (*call)(const void*, int), const void* job) {
  call_ = call;
  job_ = job;
  gate_.fetch_add(1);
  gate_.notify_all();  // a system call only where somebody sleeps
}

void ThreadPool::close() {
  gate_.fetch_add(1);
  for (uint32_t inside; (inside = num_inside_.load()) != 0;) wait_while_equal(num_inside_, inside);
}

void ThreadPool::work(int thread) {
  for (uint32_t seen = 0;;) {
    wait_while_equal(gate_, seen);
    seen = gate_.load();
    if (!is_open(seen)) continue;
    num_inside_.fetch_add(1);
    seen = gate_.load();
    if (is_open(seen)) {
      if (call_ == nullptr) return;
      call_(job_, thread);
    }
    if (num_inside_.fetch_sub(1) == 1) num_inside_.notify_one();
  }
}

void ThreadPool::wait_while_equal(const std::atomic<uint32_t>& value, uint32_t old) {
  constexpr int kPausesPerLook = 64;  // at the clock
  for (int i = 0; i < kPausesPerLook; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    pause();
  }
  const auto deadline = std::chrono::steady_clock::now() + kSpin;
  while (std::chrono::steady_clock::now() < deadline) {
    for (int i = 0; i < kPausesPerLook; ++i) {
      if (value.load(std::memory_order_acquire) != old) return;
      pause();
    }
  }
  value.wait(old, std::memory_order_acquire);
}

}  // namespace hearth

#include "thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>

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
  for (int thread = 1; thread < num_threads; ++thread) {
    workers_.emplace_back([this, thread] { work(thread); });
  }
}

ThreadPool::~ThreadPool() {
  start(nullptr, nullptr);
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::start(void (*call)(void*, int), void* job) {
  call_ = call;
  job_ = job;
  running_.store(uint32_t(workers_.size()), std::memory_order_relaxed);
  epoch_.fetch_add(1, std::memory_order_release);
  epoch_.notify_all();  // a system call only where somebody sleeps
}

void ThreadPool::finish() {
  for (uint32_t left; (left = running_.load(std::memory_order_acquire)) != 0;) {
    wait_while_equal(running_, left);
  }
}

void ThreadPool::work(int thread) {
  for (uint32_t epoch = 0;; ++epoch) {
    wait_while_equal(epoch_, epoch);
    if (call_ == nullptr) return;
    call_(job_, thread);
    // The caller may destroy the pool once it saw 0, but it joins this thread first.
    if (running_.fetch_sub(1, std::memory_order_release) == 1) running_.notify_one();
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

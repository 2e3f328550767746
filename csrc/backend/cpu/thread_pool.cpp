#include "thread_pool.h"

namespace hearth {
namespace {

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

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

// The compute threads: every item once, and no job after its run() has returned.
#include "backend/cpu/thread_pool.h"

#include <array>
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>

#include "check.h"

namespace hearth::test {
namespace {

void nap(int microseconds) { std::this_thread::sleep_for(std::chrono::microseconds(microseconds)); }

TEST("ThreadPool does every item once, whoever comes") {
  for (const int num_threads : {1, 2, 5}) {
    ThreadPool pool(num_threads);
    CHECK_EQUAL(pool.size(), num_threads);
    for (int round = 0; round < 2000; ++round) {
      if (round % 500 == 0) nap(1000);  // the workers sleep by now
      std::array<int, 37> done{};       // plain: the thread that takes an item owns it
      WorkQueue queue(int32_t(done.size()), 1 + round % 5);
      pool.run([&](int) {
        for (int32_t item, end; queue.take(item, end);) {
          for (; item < end; ++item) ++done[item];
        }
      });
      for (const int count : done) CHECK_EQUAL(count, 1);
    }
  }
}

TEST("ThreadPool::run throws what a job throws, and the next job has all threads") {
  ThreadPool pool(3);
  for (int thrower = 0; thrower < 3; ++thrower) {
    std::atomic<bool> threw = false;
    bool caught = false;
    while (!threw) {  // a worker may come too late to throw
      try {
        pool.run([&](int thread) {
          nap(200);
          if (thread != thrower) return;
          threw = true;
          throw std::runtime_error("no memory, say");
        });
      } catch (const std::runtime_error&) {
        caught = true;
      }
    }
    CHECK(caught);
    std::atomic<uint32_t> came = 0;
    for (int round = 0; round < 1000 && came != 7; ++round) {
      pool.run([&](int thread) {
        came |= 1u << thread;
        nap(200);
      });
    }
    CHECK_EQUAL(came.load(), 7u);
  }
}

TEST("ThreadPool::run waits for the workers that came, and lets no other in") {
  ThreadPool pool(4);
  for (int round = 0; round < 200; ++round) {
    std::atomic<int> inside = 0;
    std::atomic<uint32_t> came = 0;
    std::atomic<bool> came_twice = false;
    pool.run([&](int thread) {
      ++inside;
      if (came.fetch_or(1u << thread) & 1u << thread) came_twice = true;
      nap(thread == 0 ? round % 3 * 20 : 100);
      --inside;
    });
    CHECK_EQUAL(inside.load(), 0);
    CHECK(!came_twice);
    CHECK((came & 1) != 0 && came < 16);
  }
}

TEST("ThreadPool publishes what a run wrote to the next one, whoever reads it") {
  ThreadPool pool(3);
  int value = 0;  // plain: runs are in order
  for (int round = 0; round < 2000; ++round) {
    WorkQueue queue(1, 1);
    pool.run([&](int) {
      for (int32_t item, end; queue.take(item, end);) ++value;
    });
  }
  CHECK_EQUAL(value, 2000);
}

}  // namespace
}  // namespace hearth::test

// Tickets of a device: what they stand for is done when they say so, in the order that `after`,
// wait_for() and mark() ask for, from many threads; and events are used again.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <random>

#include "gate.h"
#include "gpu_tests.h"

// The linker puts these around the runtime's own function (Makefile).
static std::atomic<uint64_t> num_events{0};
extern "C" cudaError_t __real_cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
extern "C" cudaError_t __wrap_cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  ++num_events;
  return __real_cudaEventCreateWithFlags(event, flags);
}

namespace hearth::gpu_tests {
namespace {

using namespace hearth::cuda;

constexpr int kThreads = 4, kSlots = 8;
constexpr size_t kSlotBytes = 64 << 10;

/// Tickets of all threads, some of them done.
class TicketPool {
 public:
  void add(Ticket ticket) {
    const std::lock_guard lock(mutex_);
    tickets_.push_back(ticket);
  }
  Ticket any(std::mt19937& random) {
    const std::lock_guard lock(mutex_);
    return tickets_.empty() ? Ticket{} : tickets_[random() % tickets_.size()];
  }
  const std::vector<Ticket>& all() const { return tickets_; }

 private:
  std::mutex mutex_;
  std::vector<Ticket> tickets_;
};

/// A thread that sends random bytes through the device: host to device, device to device, device to
/// host, each copy behind the one before, the first behind any other thread's.
class Sender {
 public:
  Sender(CudaDevice& device, TicketPool& pool, uint32_t seed)
      : device_(device), pool_(pool), seed_(seed), random_(seed),
        host_(device.allocate(2 * kSlots * kSlotBytes, Tier::kHost)),
        first_(poisoned(device, kSlots * kSlotBytes)),
        second_(poisoned(device, kSlots * kSlotBytes)), pageable_(kSlots * kSlotBytes) {}

  void send(int num_messages) {
    for (int i = 0; i < num_messages; ++i) send_one(random_() % kSlots);
    for (int slot = 0; slot < kSlots; ++slot) receive(slot);
  }

 private:
  struct Message {
    size_t bytes = 0;  // 0: none
    Ticket tickets[3];
  };

  // Every second sender has memory that is not page-locked.
  std::byte* sent(int slot) {
    return (seed_ % 2 == 0 ? host_.data() : pageable_.data()) + slot * kSlotBytes;
  }
  std::byte* received(int slot) { return host_.data() + (kSlots + slot) * kSlotBytes; }

  void send_one(int slot) {
    receive(slot);
    Message& message = messages_[slot];
    message.bytes = 1 + random_() % kSlotBytes;
    for (size_t i = 0; i < kSlotBytes; ++i) sent(slot)[i] = std::byte(random_() | 1);
    std::memset(received(slot), 0, kSlotBytes);
    const size_t at = slot * kSlotBytes;
    Ticket after = pool_.any(random_);
    const auto copy = [&](int i, std::byte* to, const std::byte* from) {
      after = message.tickets[i] = device_.copy(to, from, message.bytes, after);
    };
    copy(0, first_.data() + at, sent(slot));
    copy(1, second_.data() + at, first_.data() + at);
    copy(2, received(slot), second_.data() + at);
    pool_.add(after);
  }

  void receive(int slot) {
    Message& message = messages_[slot];
    if (message.bytes == 0) return;
    if (random_() % 2 == 0) {
      device_.wait(message.tickets[2]);
    } else {
      while (!device_.is_done(message.tickets[2])) std::this_thread::yield();
    }
    if (!device_.is_done(message.tickets[0]) || !device_.is_done(message.tickets[1])) {
      fail("tickets: a copy was done before the one ahead of it");
    }
    if (std::memcmp(received(slot), sent(slot), message.bytes) != 0) {
      fail("tickets: what came back is not what was sent, %zu bytes", message.bytes);
    }
    if (std::any_of(received(slot) + message.bytes, received(slot) + kSlotBytes,
                    [](std::byte byte) { return byte != std::byte(0); })) {
      fail("tickets: a copy of %zu bytes wrote more", message.bytes);
    }
    message.bytes = 0;
  }

  CudaDevice& device_;
  TicketPool& pool_;
  const uint32_t seed_;
  std::mt19937 random_;
  Memory host_, first_, second_;
  std::vector<std::byte> pageable_;
  Message messages_[kSlots];
};

void check_threads(CudaDevice& device, const Options& options) {
  const int num_messages = options.reduced ? 20 : 500;
  note("tickets, many threads");
  TicketPool pool;
  std::vector<std::unique_ptr<Sender>> senders;
  for (int i = 0; i < kThreads; ++i) {
    senders.push_back(std::make_unique<Sender>(device, pool, 1000 + i));
  }
  finish(device, "poison");
  const uint64_t before = num_events;
  std::vector<std::thread> threads;
  for (const auto& sender : senders) {
    threads.emplace_back([&] { attempt("tickets", [&] { sender->send(num_messages); }); });
  }
  for (std::thread& thread : threads) thread.join();
  // Their events stand for later tickets by now.
  for (const Ticket ticket : pool.all()) {
    device.wait(ticket);
    if (!device.is_done(ticket)) fail("tickets: one that was done is not any more");
  }
  const uint64_t num_tickets = uint64_t(kThreads) * num_messages * 3;
  if (!options.reduced && num_events - before > num_tickets / 4) {
    fail("tickets: %lu events for %lu tickets", (unsigned long)(num_events - before),
         (unsigned long)num_tickets);
  }
}

/// One copy after the other needs no event but those that are there.
void check_events(CudaDevice& device) {
  note("tickets, events");
  const Memory memory = poisoned(device, 256);
  std::byte host[256] = {};
  const auto copy_often = [&](int count) {
    for (int i = 0; i < count; ++i) {
      device.wait(device.copy(memory.data(), host, sizeof host, device.mark()));
    }
  };
  copy_often(16);  // every queue has its event
  const uint64_t before = num_events;
  copy_often(1000);
  if (num_events != before) {
    fail("tickets: %lu new events for 1000 copies, one at a time",
         (unsigned long)(num_events - before));
  }
}

void expect_held_back(CudaDevice& device, Ticket ticket, const char* what) {
  if (!is_held_back(device, ticket)) fail("tickets: %s was not held back", what);
}

/// A copy behind a closed gate, and all that waits for it.
void check_late_copy(CudaDevice& device) {
  note("tickets, a late copy");
  const std::vector<uint32_t> sent(1 << 20, 0x12345678);
  const Memory memory = zeroed(device, sent.size() * sizeof(uint32_t));
  const Memory source = upload(device, sent);
  Gate gate(device);
  const Ticket copied =
      device.copy(memory.data(), source.data(), memory.bytes(), gate.hold_copies());
  const Ticket behind = device.copy(memory.data(), memory.data() + 4, 4, copied);
  device.wait_for(behind);
  const Ticket ops = device.mark();
  expect_held_back(device, copied, "a copy");
  expect_held_back(device, behind, "a copy behind it");
  expect_held_back(device, ops, "an op that waits for it");
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] { attempt("tickets", [&] { device.wait(copied); }); });
  }
  gate.open();
  for (std::thread& thread : threads) thread.join();
  if (!device.is_done(copied)) fail("tickets: not done behind wait()");
  device.wait(ops);
  if (!device.is_done(behind)) fail("tickets: ops did not wait for what is ahead of them");
  if (download<uint32_t>(device, memory) != sent) fail("tickets: a late copy has other contents");
}

/// Ops behind a closed gate, and a copy that waits for them.
void check_late_ops(CudaDevice& device) {
  note("tickets, late ops");
  const Memory memory = zeroed(device, 4);
  const uint32_t sent = 7;
  Memory source = device.allocate(4, Tier::kHost);
  *source.as<uint32_t>() = sent;
  Gate gate(device);
  gate.hold_ops();
  const Ticket ops = device.mark();
  const Ticket copied = device.copy(memory.data(), source.data(), 4, ops);
  expect_held_back(device, ops, "what is behind an op");
  expect_held_back(device, copied, "a copy behind an op");
  gate.open();
  device.wait(copied);
  if (!device.is_done(ops)) fail("tickets: a copy was done before the ops ahead of it");
  if (download<uint32_t>(device, memory) != std::vector{sent}) {
    fail("tickets: a copy behind ops has other contents");
  }
}

}  // namespace

void check_tickets(CudaDevice& device, const Options& options) {
  if (!device.is_done({})) fail("tickets: the default one is not past");
  device.wait({});
  check_threads(device, options);
  check_events(device);
  if (!options.reduced) {  // a tool that runs one thing at a time would wait at a gate for ever
    check_late_copy(device);
    check_late_ops(device);
  }
  std::printf("tickets: %d threads, gates, events\n", kThreads);
  std::fflush(stdout);
}

}  // namespace hearth::gpu_tests

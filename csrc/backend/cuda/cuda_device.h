// A CUDA device's memory and copies (../device.h).
//
// DESIGN
//   Queues    Queue 0 is the stream that ops go into. Copies go round the other queues, so that
//             uploads of many threads overlap; what follows a copy stays in its queue.
//   Tickets   A ticket is an event behind the work it stands for. Events are kept in order by queue
//             and used again once they are done.
//   Edges     Order between queues is by events: a kernel behind wait_for() starts when all that
//             the ticket stands for has ended. Programmatic launches (device.h) reach over kernels
//             alone, never over an event.
#pragma once

#include <array>
#include <atomic>
#include <deque>
#include <mutex>
#include <vector>

#include "../backend.h"
#include "device.h"

namespace hearth::cuda {

class CudaDevice final : public Device {
 public:
  /// Throws Error(HEARTH_UNSUPPORTED) where there is no such device.
  explicit CudaDevice(const CudaOptions& options);
  ~CudaDevice() override;

  std::string describe() const override;
  Ticket copy(void* to, const void* from, size_t bytes, Ticket after) override;
  void wait_for(Ticket ticket) override;
  Ticket mark() override;
  bool is_done(Ticket ticket) override;
  void wait(Ticket ticket) override;
  uint64_t num_allocations() const override { return num_allocations_; }

  /// Calls work(stream) for a queue of copies, that of `after` where it is one, behind `after`; the
  /// ticket is done when what it has enqueued is. Any thread.
  template <class Work>
  Ticket enqueue(Ticket after, const Work& work) {
    use();
    const uint32_t index = after.number > 0 && after.queue > 0
                               ? after.queue
                               : 1 + next_queue_.fetch_add(1) % kCopyQueues;
    hold_back(index, after);
    const std::lock_guard lock(queues_[index].mutex);
    work(queues_[index].stream);
    try {
      return issue(index);
    } catch (...) {  // without a ticket nobody could wait for it
      cudaStreamSynchronize(queues_[index].stream);
      throw;
    }
  }

  /// The one that ops go into.
  Stream& stream() { return stream_; }
  /// Of the kernels that run on it.
  const LoadedCode& code() const { return stream_.code; }
  /// Makes it the calling thread's current device.
  void use() const;

 private:
  static constexpr uint32_t kCopyQueues = 4;

  struct Pending {
    uint64_t number;
    Event event;
    int32_t num_waiting = 0;  // threads that wait for the event
  };
  struct Queue {
    std::mutex mutex;
    StreamHandle own_stream;        // of copies
    cudaStream_t stream = nullptr;  // the same, or that of ops
    uint64_t num_issued = 0, num_done = 0;
    std::deque<Pending> pending;  // by number, ascending
    std::vector<Event> free;
  };

  std::byte* allocate_bytes(size_t bytes, Tier tier) override;
  void free_bytes(std::byte* data, Tier tier) override;
  Ticket issue(uint32_t index);
  static void retire(Queue& queue);
  void hold_back(uint32_t index, Ticket after);

  const int32_t index_;
  hearth_device info_;
  Stream stream_;
  std::array<Queue, 1 + kCopyQueues> queues_;
  std::atomic<uint32_t> next_queue_{0};
  std::atomic<uint64_t> num_allocations_{0};
};

}  // namespace hearth::cuda

#include "cuda_device.h"

#include <utility>

#include "devices.h"

namespace hearth::cuda {

CudaDevice::CudaDevice(const CudaOptions& options) : index_(options.device_index) {
  const OpenDevice opened = open_device(index_);
  info_ = opened.info;
  stream_ =
      Stream(limit_code(opened.code, options.max_compute_capability), int32_t(info_.num_cores));
  queues_[0].stream = stream_.handle;
  for (uint32_t i = 1; i <= kCopyQueues; ++i) {
    queues_[i].own_stream = make_stream();
    queues_[i].stream = queues_[i].own_stream;
  }
}

CudaDevice::~CudaDevice() {
  cudaSetDevice(index_);
  for (const Queue& queue : queues_) cudaStreamSynchronize(queue.stream);
}

std::string CudaDevice::describe() const {
  return format("device: cuda:%d %s, compute capability %s\n", index_, info_.name,
                capability_name(int32_t(info_.best_isa)).c_str());
}

void CudaDevice::use() const { check(cudaSetDevice(index_), "Cannot use the device"); }

// -------------------------------------------------------------------------------------- memory

std::byte* CudaDevice::allocate_bytes(size_t bytes, Tier tier) {
  use();
  ++num_allocations_;
  void* data = nullptr;
  if (tier == Tier::kHost) {
    check(PinnedMemory::allocate(&data, bytes), PinnedMemory::kRefusal);
    return static_cast<std::byte*>(data);
  }
  const cudaError_t status = DeviceMemory::allocate(&data, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    throw out_of_memory(bytes, format("device memory, of which %zu are free", free));
  }
  check(status, DeviceMemory::kRefusal);
  return static_cast<std::byte*>(data);
}

void CudaDevice::free_bytes(std::byte* data, Tier tier) {
  cudaSetDevice(index_);
  tier == Tier::kHost ? PinnedMemory::free(data) : DeviceMemory::free(data);
}

// ------------------------------------------------------------------------------------- tickets

// Under the queue's mutex.
Ticket CudaDevice::issue(uint32_t index) {
  Queue& queue = queues_[index];
  retire(queue);
  if (queue.free.empty()) queue.free.push_back(make_event(cudaEventDisableTiming));
  check(cudaEventRecord(queue.free.back(), queue.stream), "Cannot record an event");
  queue.pending.push_back({++queue.num_issued, std::move(queue.free.back())});
  queue.free.pop_back();
  return {index, queue.num_issued};
}

// Under the queue's mutex: takes back the events of what is done.
void CudaDevice::retire(Queue& queue) {
  while (!queue.pending.empty() && queue.pending.front().num_waiting == 0) {
    const cudaError_t status = cudaEventQuery(queue.pending.front().event);
    if (status == cudaErrorNotReady) return;
    check(status, "Cannot finish a copy");
    queue.num_done = queue.pending.front().number;
    queue.free.push_back(std::move(queue.pending.front().event));
    queue.pending.pop_front();
  }
}

bool CudaDevice::is_done(Ticket ticket) {
  if (ticket.number == 0) return true;
  Queue& queue = queues_[ticket.queue];
  const std::lock_guard lock(queue.mutex);
  if (queue.num_done < ticket.number) retire(queue);
  if (queue.num_done >= ticket.number) return true;
  // retire() stops at an event that somebody still waits for, be it done or not.
  const cudaError_t status =
      cudaEventQuery(queue.pending[ticket.number - queue.num_done - 1].event);
  if (status != cudaErrorNotReady) check(status, "Cannot finish a copy");
  return status == cudaSuccess;
}

void CudaDevice::wait(Ticket ticket) {
  if (ticket.number == 0) return;
  Queue& queue = queues_[ticket.queue];
  std::unique_lock lock(queue.mutex);
  if (queue.num_done >= ticket.number) return;
  // Pending tickets are those behind num_done, in order; a deque's elements stay where they are.
  Pending& pending = queue.pending[ticket.number - queue.num_done - 1];
  const cudaEvent_t event = pending.event;
  ++pending.num_waiting;
  lock.unlock();
  const cudaError_t status = cudaEventSynchronize(event);
  lock.lock();
  --pending.num_waiting;
  check(status, "Cannot finish a copy");
  retire(queue);
}

// What is enqueued in the queue from now on begins behind the ticket.
void CudaDevice::hold_back(uint32_t index, Ticket after) {
  if (after.number == 0 || after.queue == index) return;
  Queue& queue = queues_[after.queue];
  const std::lock_guard lock(queue.mutex);
  if (queue.num_done >= after.number) return;
  const Pending& pending = queue.pending[after.number - queue.num_done - 1];
  // While the event is this ticket's: used again, it would stand for later work.
  check(cudaStreamWaitEvent(queues_[index].stream, pending.event, 0), "Cannot wait for a copy");
}

Ticket CudaDevice::copy(void* to, const void* from, size_t bytes, Ticket after) {
  return enqueue(after, [&](cudaStream_t stream) {
    if (bytes == 0) return;
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream), "Cannot copy");
  });
}

void CudaDevice::wait_for(Ticket ticket) {
  use();
  hold_back(0, ticket);
}

Ticket CudaDevice::mark() {
  use();
  const std::lock_guard lock(queues_[0].mutex);
  return issue(0);
}

}  // namespace hearth::cuda

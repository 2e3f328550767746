#include "cuda_device.h"

#include <algorithm>

namespace hearth::cuda {

CudaDevice::CudaDevice(const CudaOptions& options) : index_(options.device_index) {
  const std::vector<hearth_device> devices = cuda_devices();
  if (index_ < 0 || size_t(index_) >= devices.size()) {
    throw Error(HEARTH_UNSUPPORTED,
                format("Cannot open device: device_index must be below %zu, the number of CUDA "
                       "devices: current value is %d",
                       devices.size(), index_));
  }
  name_ = devices[index_].name;
  stream_.compute_capability = int32_t(devices[index_].best_isa);
  if (options.max_compute_capability > 0) {
    stream_.compute_capability =
        std::min(stream_.compute_capability, options.max_compute_capability);
  }
  stream_.num_multiprocessors = int32_t(devices[index_].num_cores);
  use();
  for (Queue& queue : queues_) {
    check(cudaStreamCreateWithFlags(&queue.stream, cudaStreamNonBlocking), "Cannot open device");
  }
  stream_.handle = queues_[0].stream;
  stream_.counter = zeroed_buffer(sizeof(int32_t));
}

CudaDevice::~CudaDevice() {
  cudaSetDevice(index_);
  for (Queue& queue : queues_) {
    if (queue.stream == nullptr) continue;
    cudaStreamSynchronize(queue.stream);
    for (const Pending& pending : queue.pending) cudaEventDestroy(pending.event);
    for (const cudaEvent_t event : queue.free) cudaEventDestroy(event);
    cudaStreamDestroy(queue.stream);
  }
}

std::string CudaDevice::describe() const {
  return format("device: cuda:%d %s, compute capability %d.%d\n", index_, name_.c_str(),
                stream_.compute_capability / 10, stream_.compute_capability % 10);
}

void CudaDevice::use() const { check(cudaSetDevice(index_), "Cannot use the device"); }

// -------------------------------------------------------------------------------------- memory

std::byte* CudaDevice::allocate_bytes(size_t bytes, Tier tier) {
  use();
  ++num_allocations_;
  void* data = nullptr;
  if (tier == Tier::kHost) {
    check(cudaHostAlloc(&data, bytes, cudaHostAllocDefault), "Cannot lock host memory");
    return static_cast<std::byte*>(data);
  }
  const cudaError_t status = cudaMalloc(&data, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    throw Error(HEARTH_OUT_OF_MEMORY,
                format("Cannot allocate %zu bytes of device memory, %zu are free: lower "
                       "kv_cache_memory_bytes, max_num_batched_tokens or max_model_len",
                       bytes, free));
  }
  check(status, "Cannot allocate device memory");
  return static_cast<std::byte*>(data);
}

void CudaDevice::free_bytes(std::byte* data, Tier tier) {
  cudaSetDevice(index_);
  tier == Tier::kHost ? cudaFreeHost(data) : cudaFree(data);
}

// ------------------------------------------------------------------------------------- tickets

// Under the queue's mutex.
Ticket CudaDevice::issue(uint32_t index) {
  Queue& queue = queues_[index];
  retire(queue);
  if (queue.free.empty()) {
    cudaEvent_t event = nullptr;
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "Cannot make an event");
    queue.free.push_back(event);
  }
  check(cudaEventRecord(queue.free.back(), queue.stream), "Cannot record an event");
  queue.pending.push_back({++queue.num_issued, queue.free.back()});
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
    queue.free.push_back(queue.pending.front().event);
    queue.pending.pop_front();
  }
}

bool CudaDevice::is_done(Ticket ticket) {
  if (ticket.number == 0) return true;
  Queue& queue = queues_[ticket.queue];
  const std::lock_guard lock(queue.mutex);
  if (queue.num_done < ticket.number) retire(queue);
  return queue.num_done >= ticket.number;
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
  cudaEvent_t event = nullptr;
  {
    Queue& queue = queues_[after.queue];
    const std::lock_guard lock(queue.mutex);
    if (queue.num_done >= after.number) return;
    event = queue.pending[after.number - queue.num_done - 1].event;
    // While the event is this ticket's: used again, it would stand for later work.
    check(cudaStreamWaitEvent(queues_[index].stream, event, 0), "Cannot wait for a copy");
  }
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

#include "event_queue.h"

#include <algorithm>

#include "../sized_struct.h"

namespace hearth {

void EventQueue::push(std::vector<Event>& events) {
  if (events.empty()) return;
  {
    std::lock_guard lock(mutex_);
    std::move(events.begin(), events.end(), std::back_inserter(events_));
  }
  events.clear();
  changed_.notify_one();
}

void EventQueue::close() {
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
  }
  changed_.notify_all();
}

int32_t EventQueue::poll(hearth_event* events, uint32_t event_size, uint32_t capacity,
                         uint8_t* payload, uint32_t payload_capacity,
                         std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, timeout, [this] { return closed_ || !events_.empty(); });
  if (events_.empty()) return closed_ ? HEARTH_CLOSED : 0;

  uint32_t count = 0;
  size_t used = 0;
  for (; count < capacity && !events_.empty(); ++count) {
    Event& event = events_.front();
    if (used + event.payload.size() > payload_capacity) break;
    event.header.payload_offset = uint32_t(event.payload.empty() ? 0 : used);
    event.header.payload_bytes = uint32_t(event.payload.size());
    write_struct(event.header, reinterpret_cast<uint8_t*>(events) + size_t(count) * event_size,
                 event_size);
    std::copy(event.payload.begin(), event.payload.end(), payload + used);
    used = (used + event.payload.size() + 7) / 8 * 8;
    events_.pop_front();
  }
  return int32_t(count);
}

}  // namespace hearth

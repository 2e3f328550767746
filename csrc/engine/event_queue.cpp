#include "event_queue.h"

#include <algorithm>
#include <iterator>

namespace hearth {

void EventQueue::push(std::vector<Event>& events) {
  if (events.empty()) return;
  {
    std::lock_guard lock(mutex_);
    events_.insert(events_.end(), std::move_iterator(events.begin()),
                   std::move_iterator(events.end()));
  }
  events.clear();
  changed_.notify_one();
}

void EventQueue::fail(hearth_status status, std::string_view message) noexcept {
  {
    std::lock_guard lock(mutex_);
    set_failure(failure_, status, message);
    has_failure_ = true;
  }
  changed_.notify_one();
}

void EventQueue::close() {
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
  }
  changed_.notify_all();
}

int32_t EventQueue::poll(hearth_event* events, uint32_t capacity, uint8_t* payload,
                         uint32_t payload_capacity, std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, timeout, [this] { return closed_ || front() != nullptr; });
  if (front() == nullptr) return closed_ ? HEARTH_CLOSED : 0;

  uint32_t count = 0;
  size_t used = 0;
  for (; count < capacity && front() != nullptr; ++count) {
    const Event& event = *front();
    if (used + event.payload.size() > payload_capacity) break;
    events[count] = event.header;
    events[count].payload_offset = uint32_t(event.payload.empty() ? 0 : used);
    events[count].payload_bytes = uint32_t(event.payload.size());
    std::copy(event.payload.begin(), event.payload.end(), payload + used);
    used = (used + event.payload.size() + 7) / 8 * 8;
    pop();
  }
  return int32_t(count);
}

const Event* EventQueue::front() const {
  if (!events_.empty()) return &events_.front();
  return has_failure_ ? &failure_ : nullptr;
}

void EventQueue::pop() {
  if (events_.empty()) {
    has_failure_ = false;
  } else {
    events_.pop_front();
  }
}

}  // namespace hearth

// Events on their way from the engine's thread to hearth_poll.
//
// The queue has no bound: a slow reader never stops the engine and never loses an event. What it
// can hold is bounded by the requests that were let in: max_tokens events a sequence.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <vector>

#include "event.h"

namespace hearth {

class EventQueue {
 public:
  /// Takes the events of one step at once, and wakes the poll once. Leaves the vector empty; where
  /// memory runs out, takes none.
  void push(std::vector<Event>& events);
  /// FAILED, behind all events so far. Its memory is there since the queue is.
  void fail(hearth_status status, std::string_view message) noexcept;
  /// No more events will come.
  void close();

  /// hearth_poll: arguments checked by the caller. Returns the number of events or HEARTH_CLOSED.
  int32_t poll(hearth_event* events, uint32_t capacity, uint8_t* payload, uint32_t payload_capacity,
               std::chrono::milliseconds timeout);

 private:
  const Event* front() const;
  void pop();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Event> events_;
  Event failure_ = failed_event();
  bool has_failure_ = false;  // and nobody has polled it yet
  bool closed_ = false;
};

}  // namespace hearth

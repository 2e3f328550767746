// A request and its sequences: what a client asked for, and how far each continuation is.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include "../memory/block_name.h"
#include "request_options.h"
#include "throughput.h"

namespace hearth {

struct Caller;
struct Request;

/// One of a request's n continuations. A few counters; what else one may ask is derived from them.
///
///   position  0            prompt_len                    known_len   total_len
///             |-- prompt -----|-- output, known -------------|-- pending --|
///             |-- computed -------------|-- staged --|
///             0                  computed_len   planned_len
///
/// computed: K and V are committed and may be named. staged: a step in flight computes them.
/// pending: drawn by a step in flight (0 or 1 token, in row pending_row of the newest staged step).
struct Sequence {
  enum class Place { kNone, kWaiting, kRunning };

  Sequence(Request& request, uint32_t index) : request(&request), index(index) {}

  Request* request;
  uint32_t index;  // 0 to n - 1
  Place place = Place::kNone;
  bool finished = false;  // its last event is made; results that still come are discarded

  std::vector<uint32_t> output;
  int32_t num_pending = 0;
  int32_t pending_row = 0;

  std::vector<int32_t> block_table;
  int32_t computed_len = 0;
  int32_t planned_len = 0;
  int32_t charged_len = 0;             // input tokens that its caller has paid for
  int32_t num_named_blocks = 0;        // full blocks that were offered to the prefix cache
  std::vector<BlockName> block_names;  // of full blocks, as far as anyone has asked; kept for good

  int32_t num_in_flight = 0;  // staged steps that it is in
  uint64_t last_plan = 0;     // number of the newest of them
  uint32_t epoch = 0;  // raised when it gives its blocks up: results of older steps bring no K, V
  int32_t sampler = -1;
  Clock::time_point running_since;

  int32_t known_len() const;
  int32_t total_len() const { return known_len() + num_pending; }
  uint32_t known_token(int32_t position) const;
  /// Whether there is a token whose K and V are still to be computed.
  bool has_input_left() const;
  /// The next input is the token that was drawn last, and nothing else.
  bool decodes() const;
};

struct Request {
  Request(uint64_t id, std::vector<uint32_t> prompt, RequestOptions options, int32_t max_model_len,
          Clock::time_point arrival, std::chrono::milliseconds ageing);
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  uint64_t id;
  std::vector<uint32_t> prompt;
  RequestOptions options;
  int32_t max_output;  // tokens of a sequence: max_tokens, or what max_model_len leaves
  /// Microseconds; the smaller goes first. A request that waits gains one priority level each
  /// ageing interval, which is the same as this constant: arrival + priority * ageing.
  int64_t order;
  Clock::time_point arrival;
  std::optional<Clock::time_point> deadline;
  Caller* caller = nullptr;  // whose it is, from submit() on

  int32_t num_sequences_running = 0;  // in the scheduler's queues
  int32_t num_sequences_waiting = 0;
  bool admitted = false;  // has run before, be it for one step
  bool forked = false;    // the prompt is computed (or staged): every sequence is on its own
  uint32_t cached_tokens = 0;
  int32_t num_prompt_logprobs = 0;  // prompt tokens 1 to this one: logprob delivered or staged
  std::vector<Sequence> sequences;  // never resized

  int32_t prompt_len() const { return int32_t(prompt.size()); }
  /// Until the fork, the first sequence computes the prompt for all (even if it is finished
  /// itself).
  Sequence& leader() { return sequences.front(); }
  int32_t num_unfinished() const;
  /// After a preemption its own blocks are as good as computed.
  bool skips_prefix_cache() const {
    return wants_prompt_logprobs() || (options.values.skip_reading_prefix_cache && !admitted);
  }
  bool wants_prompt_logprobs() const {
    return options.values.prompt_logprobs >= 0 && num_prompt_logprobs < prompt_len() - 1;
  }
};

/// The order in which sequences of one caller are served: best first.
struct ServedBefore {
  bool operator()(const Sequence* a, const Sequence* b) const;
};

}  // namespace hearth

// How long a step that computes prompts takes, by those that were measured.
//
//   seconds = a * tokens + b * pairs
//
// A pair is a token and one that it attends to, be it itself: a prompt's later chunks cost more. a
// and b are what fits the last few dozen steps best (least squares, older ones fading); none is
// below 0. So a step of few tokens, in which reading the weights takes longest, makes a seem larger
// than it is, until a larger step shows it. Times are told, no clock is read here.
#pragma once

#include <cstdint>

namespace hearth {

class StepTime {
 public:
  /// A step with prompts in it has taken so long, decodes and all.
  void observe(int64_t num_tokens, int64_t num_pairs, double seconds);

  /// 0 while nothing is measured.
  double seconds(double num_tokens, double num_pairs) const;
  /// How many tokens of a sequence, from position `begin` on, take so long; INT32_MAX while nothing
  /// is measured.
  int32_t tokens_within(double seconds, int32_t begin) const;

 private:
  // Sums over steps: tokens^2, tokens * pairs, pairs^2, tokens * seconds, pairs * seconds.
  double tt_ = 0, tp_ = 0, pp_ = 0, ts_ = 0, ps_ = 0;
  double seconds_per_token_ = 0;  // a
  double seconds_per_pair_ = 0;   // b
};

}  // namespace hearth

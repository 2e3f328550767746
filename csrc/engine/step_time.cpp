#include "step_time.h"

#include <algorithm>
#include <cmath>

namespace hearth {

namespace {

// What is left of a step's weight after the next one: a prompt of some thousand tokens is
// remembered from its first chunk to its last, which tells a from b.
constexpr double kFading = 1 - 1.0 / 32;

}  // namespace

void StepTime::observe(int64_t num_tokens, int64_t num_pairs, double seconds) {
  const double tokens = double(num_tokens), pairs = double(num_pairs);
  tt_ = tt_ * kFading + tokens * tokens;
  tp_ = tp_ * kFading + tokens * pairs;
  pp_ = pp_ * kFading + pairs * pairs;
  ts_ = ts_ * kFading + tokens * seconds;
  ps_ = ps_ * kFading + pairs * seconds;
  // Cannot be told apart where all steps had the same context: then it is the tokens that cost.
  const double determinant = tt_ * pp_ - tp_ * tp_;
  const bool is_certain = determinant > 1e-6 * tt_ * pp_;
  const double a = is_certain ? (pp_ * ts_ - tp_ * ps_) / determinant : ts_ / tt_;
  const double b = is_certain ? (tt_ * ps_ - tp_ * ts_) / determinant : 0;
  seconds_per_token_ = b < 0 ? ts_ / tt_ : std::max(a, 0.0);
  seconds_per_pair_ = a < 0 ? ps_ / pp_ : std::max(b, 0.0);
}

double StepTime::seconds(double num_tokens, double num_pairs) const {
  return seconds_per_token_ * num_tokens + seconds_per_pair_ * num_pairs;
}

// n tokens have n * (begin + 1/2) + n^2 / 2 pairs: the root of a quadratic in n.
int32_t StepTime::tokens_within(double seconds, int32_t begin) const {
  if (seconds <= 0) return 0;
  const double linear = seconds_per_token_ + seconds_per_pair_ * (begin + 0.5);
  const double most =
      2 * seconds / (linear + std::sqrt(linear * linear + 2 * seconds_per_pair_ * seconds));
  return most < INT32_MAX ? int32_t(most) : INT32_MAX;
}

}  // namespace hearth

// How programs that run on a device say what failed: at once, since the next kernel may hang.
#pragma once

#include <functional>
#include <span>
#include <string>

namespace hearth::gpu_tests {

/// Prints a failure and counts it.
void fail(const char* pattern, ...) __attribute__((format(printf, 1, 2)));
int num_failures();
/// What is about to run. It is printed if the program is ended from outside: a kernel may hang.
void note(const std::string& what);
/// Runs a part. An Error is a failure, and the next part has its turn.
void attempt(const char* what, const std::function<void()>& part);
/// Whether a name is one of those in a list with commas between.
bool is_listed(const std::string& list, const char* name);

/// How far results are from a float64 reference.
struct Difference {
  double error = 0;  // sum of squared differences
  double norm = 0;   // sum of squared expected values
  double worst = 0;  // largest difference
  size_t count = 0;
  size_t num_wrong = 0;    // not finite
  size_t first_wrong = 0;  // index of the first of these

  double relative() const;
  /// The largest difference over the deviation of the expected values.
  double worst_relative() const;
  /// Whether all were written and differ by rounding only: a relative error up to the bound, and
  /// none by more than 20 times that. NaN fails.
  bool is_within(double bound) const;
  /// "error 1e-3, worst 0.1 deviations, 2 of 80 not finite"
  std::string describe() const;
};
/// actual and expected are of one length.
Difference compare(std::span<const float> actual, std::span<const double> expected);

}  // namespace hearth::gpu_tests

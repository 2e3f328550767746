#include "report.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include <unistd.h>

#include "error.h"

namespace hearth::gpu_tests {
namespace {

std::atomic<int> failures = 0;
char running[256] = "nothing";

void tell_running(int signal) {
  // Nothing that allocates: this interrupts anything.
  (void)!write(STDOUT_FILENO, "ended while running: ", 21);
  (void)!write(STDOUT_FILENO, running, std::strlen(running));
  (void)!write(STDOUT_FILENO, "\n", 1);
  _exit(128 + signal);
}

}  // namespace

void fail(const char* pattern, ...) {
  ++failures;
  std::va_list arguments;
  va_start(arguments, pattern);
  std::printf("FAILED  ");
  std::vprintf(pattern, arguments);
  std::printf("\n");
  std::fflush(stdout);
  va_end(arguments);
}

int num_failures() { return failures; }

void note(const std::string& what) {
  std::signal(SIGTERM, tell_running);
  std::snprintf(running, sizeof running, "%s", what.c_str());
}

void attempt(const char* what, const std::function<void()>& part) {
  try {
    part();
  } catch (const Error& error) {
    fail("%s: %s (last: %s)", what, error.what(), running);
  }
}

bool is_listed(const std::string& list, const char* name) {
  return ("," + list + ",").find(std::string(",") + name + ",") != std::string::npos;
}

double Difference::relative() const { return std::sqrt(error / norm); }
double Difference::worst_relative() const { return worst / std::sqrt(norm / double(count)); }

bool Difference::is_within(double bound) const {
  return num_wrong == 0 && relative() <= bound && worst_relative() <= 20 * bound;
}

std::string Difference::describe() const {
  return format("error %.2g, worst %.2g deviations, %zu of %zu not finite", relative(),
                worst_relative(), num_wrong, count);
}

Difference compare(std::span<const float> actual, std::span<const double> expected) {
  Difference result;
  result.count = actual.size();
  for (size_t i = 0; i < actual.size(); ++i) {
    const double difference = std::abs(actual[i] - expected[i]);
    if (!(difference < 1e30)) {
      if (result.num_wrong++ == 0) result.first_wrong = i;
      continue;
    }
    result.error += difference * difference;
    result.norm += expected[i] * expected[i];
    result.worst = std::max(result.worst, difference);
  }
  return result;
}

}  // namespace hearth::gpu_tests

// What the native benchmark's parts share: random inputs that host and device agree on, times of
// recorded launches, and a line of JSON a figure.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "backend/cuda/device.h"
#include "backend/cuda/layout.h"

namespace hearth::bench {

using cuda::check;
using cuda::DeviceBuffer;
using cuda::Stream;

// ------------------------------------------------------------------------------------ inputs

/// One of 2048 values in [-1, 1), exact in fp16: the same wherever it is asked for, so that a
/// reference needs no copy of the inputs.
__host__ __device__ inline float random_value(uint32_t seed, uint64_t index) {
  uint32_t h =
      uint32_t(index) * 0x9e3779b9u ^ uint32_t(index >> 32) * 0x85ebca6bu ^ seed * 0xc2b2ae35u;
  h = (h ^ h >> 16) * 0x7feb352du;
  h = (h ^ h >> 15) * 0x846ca68bu;
  h ^= h >> 16;
  return float(int(h >> 21) - 1024) / 1024;
}

/// Weights are this much smaller than other values, so that sums stay near 1.
inline constexpr float kWeightScale = 1.0f / 64;

/// Poison: NaN as fp32 and as fp16.
inline void poison(void* device, size_t bytes) {
  check(cudaMemset(device, 0xff, bytes), "Cannot fill device memory");
  // The default stream is not the one that kernels go to.
  check(cudaDeviceSynchronize(), "Cannot fill device memory");
}

// -------------------------------------------------------------------------------- comparison

/// Sums of a comparison of results with a reference, on the device.
struct Comparison {
  double error = 0;  // sum of squared differences
  double norm = 0;   // sum of squared expected values
  double worst = 0;  // largest difference
  unsigned long long count = 0;
  unsigned long long num_wrong = 0;  // not finite

  double relative() const { return norm > 0 ? std::sqrt(error / norm) : NAN; }
  /// Of the largest difference, by the values' deviation.
  double worst_relative() const { return norm > 0 ? worst / std::sqrt(norm / count) : NAN; }
  /// Whether all were written and differ by rounding only. NaN fails.
  bool is_within(double relative_bound, double worst_bound) const {
    return num_wrong == 0 && relative() <= relative_bound && worst_relative() <= worst_bound;
  }
};

#ifdef __CUDACC__
__device__ inline void compare(Comparison* to, float actual, double expected) {
  const double difference = fabs(double(actual) - expected);
  atomicAdd(&to->count, 1ull);
  if (!(difference < 1e30)) {
    atomicAdd(&to->num_wrong, 1ull);
    return;
  }
  atomicAdd(&to->error, difference * difference);
  atomicAdd(&to->norm, expected * expected);
  // Positive doubles are ordered as their bits are.
  atomicMax(reinterpret_cast<unsigned long long*>(&to->worst),
            (unsigned long long)__double_as_longlong(difference));
}
#endif

// -------------------------------------------------------------------------------------- time

struct Options {
  int replays = 25;
  bool quick = false;    // fewer shapes
  bool reduced = false;  // fewer checks, for compute-sanitizer
  std::string filter;    // only workloads whose name has it
  std::string skip;      // kernels not to run, by their names with commas between
  std::string cublas;    // libcublas.so.13; empty: no peer
};

struct Timing {
  double microseconds = 0;  // of a launch, median over replays
  double spread = 0;        // of the middle half, over the median
  // Of the first kernel:
  int registers = 0, threads = 0, ctas_per_multiprocessor = 0;
  dim3 grid;
  size_t shared_bytes = 0;
};

/// Records `count` launches as a graph and times its replays. body(i) launches number i, which
/// takes inputs of its own wherever a cache would flatter.
Timing time_graph(Stream& stream, const Options& options, int count,
                  const std::function<void(int)>& body);
/// The same without a graph, for what cannot be recorded.
Timing time_stream(Stream& stream, const Options& options, int count,
                   const std::function<void(int)>& body);

double median(std::vector<double> values);

// ------------------------------------------------------------------------------------ output

/// One JSON object a line, into the file that open_results() named.
void open_results(const char* path);
class Result {
 public:
  explicit Result(const char* workload) { add("workload", workload); }
  Result& add(const char* key, const char* value);
  Result& add(const char* key, double value);
  void write() const;

 private:
  std::string text_;
};

/// A failed check: told at once, counted, and the exit status at the end.
void fail(const char* pattern, ...) __attribute__((format(printf, 1, 2)));
int num_failures();
/// What is about to run: told if the program is ended from outside, since a kernel may hang.
void note(const std::string& what);
/// Runs a part; an Error is a failure, and the next part has its turn.
void attempt(const char* what, const std::function<void()>& part);
bool is_skipped(const Options& options, const char* kernel);

// ------------------------------------------------------------------------------------- parts

/// What the device can do, in the units of the table.
struct Ceilings {
  double read = 0;        // bytes/s, the better of plain and bulk loads
  double fp16_flops = 0;  // 0: not known
};

class Cublas;
Ceilings measure_ceilings(Stream& stream, const Options& options, Cublas* cublas);
void bench_decode_linear(Stream& stream, const Options& options, const Ceilings& ceilings,
                         Cublas* cublas);
void bench_prefill_linear(Stream& stream, const Options& options, const Ceilings& ceilings,
                          Cublas* cublas);
void bench_attention(Stream& stream, const Options& options, const Ceilings& ceilings);

/// Small odd shapes of every kernel against float64, and the same bits from all of them.
void check_linear(Stream& stream, const Options& options);
void check_attention(Stream& stream, const Options& options);

}  // namespace hearth::bench

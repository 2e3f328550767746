// What the native benchmark's parts share: comparison with a reference on the device, times of
// recorded launches, and a line of JSON a figure. Inputs and failures are the checks' (tests/gpu).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "../../tests/gpu/device_memory.h"
#include "../../tests/gpu/inputs.h"
#include "../../tests/gpu/report.h"

namespace hearth::bench {

using namespace gpu_tests;
using cuda::check;
using cuda::CudaDevice;
using cuda::Stream;

/// Weights are this much smaller than other values, so that sums stay near 1.
inline constexpr float kWeightScale = 1.0f / 64;

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
  bool quick = false;  // fewer shapes
  std::string filter;  // only workloads whose name has it
  std::string skip;    // kernels not to run, by their names with commas between
  std::string cublas;  // libcublas.so.13; empty: no peer
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

// ------------------------------------------------------------------------------------- parts

/// What the device can do, in the units of the table.
struct Ceilings {
  double read = 0;        // bytes/s, the better of plain and bulk loads
  double fp16_flops = 0;  // 0: not known
};

class Cublas;
Ceilings measure_ceilings(CudaDevice& device, const Options& options, Cublas* cublas);
void bench_decode_linear(CudaDevice& device, const Options& options, const Ceilings& ceilings,
                         Cublas* cublas);
void bench_prefill_linear(CudaDevice& device, const Options& options, const Ceilings& ceilings,
                          Cublas* cublas);
void bench_attention(CudaDevice& device, const Options& options, const Ceilings& ceilings);

}  // namespace hearth::bench

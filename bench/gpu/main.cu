// Ops alone on the device, through the launchers that the backend uses: checked, then timed against
// the ceilings of the same run and against cuBLAS.
//
//   gpu_bench check [--reduced] [--filter linear|attention] [--skip gemm_sm90,...]
//             small odd shapes of every kernel against float64, and the same bits from all
//   gpu_bench linear|prefill|attention|all [--quick] [--filter TEXT] [--skip KERNELS]
//             [--replays 25] [--cublas PATH/libcublas.so.13] [--json FILE]
//
// Exits 1 where a check failed.
#include <cstdlib>
#include <cstring>
#include <memory>

#include "backend/cuda/devices.h"
#include "bench.cuh"
#include "cublas.h"

namespace {

using namespace hearth;
using namespace hearth::bench;

Stream open_stream() {
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, 0), "Cannot open the device");
  const cuda::OpenDevice device = cuda::open_device(0);
  // Ordered with copies and fills that name no stream.
  Stream stream(device.code, int32_t(device.info.num_cores), cudaStreamDefault);
  std::printf("%s, compute capability %d.%d (code for %s), %d multiprocessors, L2 %d MB\n",
              properties.name, properties.major, properties.minor,
              cuda::capability_name(device.code.compute_capability).c_str(),
              properties.multiProcessorCount, properties.l2CacheSize >> 20);
  std::fflush(stdout);
  return stream;
}

int run(int argc, char** argv) {
  const std::string part = argc > 1 ? argv[1] : "all";
  Options options;
  for (int i = 2; i < argc; ++i) {
    const std::string flag = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : "";
    if (flag == "--quick") {
      options.quick = true;
    } else if (flag == "--reduced") {
      options.reduced = true;
    } else {
      if (flag == "--filter")
        options.filter = value;
      else if (flag == "--skip")
        options.skip = value;
      else if (flag == "--replays")
        options.replays = std::atoi(value);
      else if (flag == "--cublas")
        options.cublas = value;
      else if (flag == "--json")
        open_results(value);
      else
        throw Error(HEARTH_INVALID_ARGUMENT, "Cannot run: unknown flag " + flag);
      ++i;
    }
  }
  Stream stream = open_stream();
  if (part == "check") {
    const auto checks = [&](const char* name) {
      return std::string(name).find(options.filter) != std::string::npos;
    };
    if (checks("linear")) attempt("linear", [&] { check_linear(stream, options); });
    if (checks("attention")) attempt("attention", [&] { check_attention(stream, options); });
    std::printf("%d failed\n", num_failures());
    return num_failures() > 0;
  }
  const std::unique_ptr<Cublas> cublas = Cublas::open(options.cublas, stream.handle);
  const Ceilings ceilings = measure_ceilings(stream, options, cublas.get());
  const auto wants = [&](const char* name) { return part == "all" || part == name; };
  if (wants("linear")) {
    attempt("linear", [&] { bench_decode_linear(stream, options, ceilings, cublas.get()); });
  }
  if (wants("attention")) {
    attempt("attention", [&] { bench_attention(stream, options, ceilings); });
  }
  if (wants("prefill")) {
    attempt("prefill", [&] { bench_prefill_linear(stream, options, ceilings, cublas.get()); });
  }
  if (num_failures() > 0) std::printf("%d failed\n", num_failures());
  return num_failures() > 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}

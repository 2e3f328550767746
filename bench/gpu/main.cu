// Ops alone on the device, through the launchers that the backend uses: compared with a reference,
// then timed against the ceilings of the same run and against cuBLAS. tests/gpu checks them at
// small odd shapes.
//
//   gpu_bench linear|prefill|attention|all [--quick] [--filter TEXT] [--skip KERNELS]
//             [--replays 25] [--cublas PATH/libcublas.so.13] [--json FILE]
//
// Exits 1 where results differ from the reference.
#include <cstdlib>
#include <memory>

#include "bench.cuh"
#include "cublas.h"

namespace {

using namespace hearth;
using namespace hearth::bench;

int run(int argc, char** argv) {
  const std::string part = argc > 1 ? argv[1] : "all";
  Options options;
  for (int i = 2; i < argc; ++i) {
    const std::string flag = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : "";
    if (flag == "--quick") {
      options.quick = true;
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
  CudaDevice device(CudaOptions{});
  std::printf("%scode: for compute capability %s\n", device.describe().c_str(),
              cuda::capability_name(device.code().compute_capability).c_str());
  std::fflush(stdout);
  const std::unique_ptr<Cublas> cublas = Cublas::open(options.cublas, device.stream().handle);
  const Ceilings ceilings = measure_ceilings(device, options, cublas.get());
  const auto wants = [&](const char* name) { return part == "all" || part == name; };
  if (wants("linear")) {
    attempt("linear", [&] { bench_decode_linear(device, options, ceilings, cublas.get()); });
  }
  if (wants("attention")) {
    attempt("attention", [&] { bench_attention(device, options, ceilings); });
  }
  if (wants("prefill")) {
    attempt("prefill", [&] { bench_prefill_linear(device, options, ceilings, cublas.get()); });
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

// Kernels and memory of a device, through the interfaces that the backend uses.
//
//   gpu_tests [--filter linear|qkv|attention|packer|pages|tickets] [--reduced]
//             [--skip gemm_sm90,...]
//
// Exits 1 where a check failed.
#include <cstdio>
#include <cstring>

#include "gpu_tests.h"

namespace {

using namespace hearth;
using namespace hearth::gpu_tests;

constexpr struct {
  const char* name;
  void (*run)(cuda::CudaDevice&, const Options&);
} kChecks[] = {
    {"tickets", check_tickets}, {"packer", check_packer}, {"pages", check_pages},
    {"linear", check_linear},   {"qkv", check_qkv},       {"attention", check_attention},
};

int run(int argc, char** argv) {
  Options options;
  std::string filter;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--reduced") {
      options.reduced = true;
    } else if (flag == "--filter" && i + 1 < argc) {
      filter = argv[++i];
    } else if (flag == "--skip" && i + 1 < argc) {
      options.skip = argv[++i];
    } else {
      throw Error(HEARTH_INVALID_ARGUMENT, "Cannot run: unknown flag " + flag);
    }
  }
  cuda::CudaDevice device(CudaOptions{});
  std::printf("%scode: for compute capability %s\n", device.describe().c_str(),
              cuda::capability_name(device.code().compute_capability).c_str());
  std::fflush(stdout);
  int num_run = 0;
  for (const auto& check : kChecks) {
    if (std::strstr(check.name, filter.c_str()) == nullptr) continue;
    attempt(check.name, [&] { check.run(device, options); });
    ++num_run;
  }
  std::printf("%d checks, %d failed\n", num_run, num_failures());
  return num_failures() > 0 || num_run == 0;
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

#include "cublas.h"

#include <dlfcn.h>

#include <cstdio>

#include "error.h"

namespace hearth::bench {
namespace {

// cublas_api.h, as far as it goes here.
constexpr int kOpN = 0, kOpT = 1, kFp16 = 2, kCompute32F = 68, kDefaultAlgorithm = -1;
constexpr size_t kWorkspaceBytes = 32 << 20;  // as PyTorch on Hopper
using Create = int (*)(void**);
using SetStream = int (*)(void*, cudaStream_t);
using SetWorkspace = int (*)(void*, void*, size_t);
using GemmEx = int (*)(void* handle, int transpose_a, int transpose_b, int m, int n, int k,
                       const void* alpha, const void* a, int a_type, int lda, const void* b,
                       int b_type, int ldb, const void* beta, void* c, int c_type, int ldc,
                       int compute_type, int algorithm);

void require(int status, const char* what) {
  if (status != 0) throw Error(HEARTH_INTERNAL, format("%s: cuBLAS status %d", what, status));
}

}  // namespace

std::unique_ptr<Cublas> Cublas::open(const std::string& path, cudaStream_t stream) {
  if (path.empty()) return nullptr;
  // It looks for this one by name alone.
  const size_t slash = path.rfind('/');
  const std::string lt = slash == std::string::npos ? "libcublasLt.so.13"
                                                    : path.substr(0, slash) + "/libcublasLt.so.13";
  dlopen(lt.c_str(), RTLD_NOW | RTLD_GLOBAL);
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    std::printf("no cuBLAS: %s\n", dlerror());
    return nullptr;
  }
  std::unique_ptr<Cublas> cublas(new Cublas);
  cublas->library_ = library;
  cublas->gemm_ = dlsym(library, "cublasGemmEx");
  const auto create = Create(dlsym(library, "cublasCreate_v2"));
  const auto set_stream = SetStream(dlsym(library, "cublasSetStream_v2"));
  const auto set_workspace = SetWorkspace(dlsym(library, "cublasSetWorkspace_v2"));
  if (cublas->gemm_ == nullptr || create == nullptr || set_stream == nullptr ||
      set_workspace == nullptr) {
    throw Error(HEARTH_UNSUPPORTED, "Cannot use cuBLAS: a function is missing");
  }
  require(create(&cublas->handle_), "Cannot open cuBLAS");
  require(set_stream(cublas->handle_, stream), "Cannot open cuBLAS");
  if (cudaMalloc(&cublas->workspace_, kWorkspaceBytes) != cudaSuccess) {
    throw Error(HEARTH_OUT_OF_MEMORY, "Cannot open cuBLAS: no memory for its workspace");
  }
  require(set_workspace(cublas->handle_, cublas->workspace_, kWorkspaceBytes),
          "Cannot open cuBLAS");
  return cublas;
}

Cublas::~Cublas() {
  cudaDeviceSynchronize();
  cudaFree(workspace_);  // the process ends soon: the handle goes with it
}

void Cublas::gemm(int tokens, int rows, int cols, const void* x, const void* weight, void* out) {
  // Row-major [tokens, rows] is column-major [rows, tokens].
  const float one = 1, zero = 0;
  require(GemmEx(gemm_)(handle_, kOpT, kOpN, rows, tokens, cols, &one, weight, kFp16, cols, x,
                        kFp16, cols, &zero, out, kFp16, rows, kCompute32F, kDefaultAlgorithm),
          "Cannot multiply");
}

}  // namespace hearth::bench

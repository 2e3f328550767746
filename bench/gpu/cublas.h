// cuBLAS as a peer, found at run time: no header or library of it is needed to build.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <memory>
#include <string>

namespace hearth::bench {

class Cublas {
 public:
  /// Null where the library is not. path: of libcublas.so.13; libcublasLt.so.13 lies beside it.
  static std::unique_ptr<Cublas> open(const std::string& path, cudaStream_t stream);
  ~Cublas();

  /// out[t, r] = x[t] · weight[r], all fp16 and row-major, fp32 sums.
  void gemm(int tokens, int rows, int cols, const void* x, const void* weight, void* out);

 private:
  Cublas() = default;

  void* library_ = nullptr;
  void* handle_ = nullptr;
  void* workspace_ = nullptr;
  void* gemm_ = nullptr;
};

}  // namespace hearth::bench

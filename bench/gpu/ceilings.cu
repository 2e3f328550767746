// What the device can do at most, by kernels that do nothing else.
//
//   read      plain 16-byte loads, and cp.async.bulk into a ring in shared memory, over 2 GiB
//   one read  the same of 52, 142 and 283 MB as one kernel of a graph: what a linear op could reach
//   link      pinned memory to the device and back, 16 MiB at a time
//   fp16      an 8192³ product by cuBLAS
#include <cuda_fp16.h>

#include "backend/cuda/ptx.cuh"
#include "bench.cuh"
#include "cublas.h"

namespace hearth::bench {
namespace {

constexpr size_t kReadBytes = size_t(2) << 30;

using cuda::let_next_begin;
using cuda::shared_address;
using cuda::wait_for_previous;

constexpr int kPlainThreads = 512;
constexpr int kUnroll = 8;

__global__ void __launch_bounds__(kPlainThreads)
    read_plain(const uint4* data, size_t count, uint32_t* sink) {
  let_next_begin();  // what it reads nobody writes
  uint32_t sum = 0;
  const size_t stride = size_t(gridDim.x) * kPlainThreads;
  size_t i = blockIdx.x * size_t(kPlainThreads) + threadIdx.x;
  for (; i + (kUnroll - 1) * stride < count; i += kUnroll * stride) {
    uint4 values[kUnroll];
#pragma unroll
    for (int j = 0; j < kUnroll; ++j) {
      const uint4* from = data + i + j * stride;
      asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                   : "=r"(values[j].x), "=r"(values[j].y), "=r"(values[j].z), "=r"(values[j].w)
                   : "l"(from));
    }
#pragma unroll
    for (int j = 0; j < kUnroll; ++j) {
      sum ^= values[j].x ^ values[j].y ^ values[j].z ^ values[j].w;
    }
  }
  for (; i < count; i += stride) sum ^= data[i].x ^ data[i].y ^ data[i].z ^ data[i].w;
  wait_for_previous();
  if (sum == 0x12345678) *sink = sum;  // keeps the loads
}

constexpr int kPieceBytes = 16 << 10;
constexpr int kStages = 12;  // 192 KiB in flight a multiprocessor

/// kCopyBytes below kPieceBytes: a piece is so many bytes each from all over the memory, a power of
/// two, as a KV cache has its cells.
template <int kCopyBytes>
__global__ void __launch_bounds__(128)
    read_bulk(const std::byte* data, uint32_t pieces, uint32_t* sink) {
#if __CUDA_ARCH__ >= 900
  extern __shared__ __align__(128) std::byte ring[];
  __shared__ __align__(8) uint64_t full[kStages];
  let_next_begin();
  if (threadIdx.x == 0) {
    for (uint64_t& barrier : full) {
      asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(&barrier)));
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
  __syncthreads();
  const uint32_t own = pieces > blockIdx.x ? (pieces - blockIdx.x + gridDim.x - 1) / gridDim.x : 0;
  const auto load = [&](uint32_t i) {
    const uint32_t stage = i % kStages;
    const std::byte* from = data + (size_t(i) * gridDim.x + blockIdx.x) * kPieceBytes;
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(
                     shared_address(&full[stage])),
                 "r"(kPieceBytes)
                 : "memory");
    constexpr uint32_t kCopies = kPieceBytes / kCopyBytes;
#pragma unroll
    for (uint32_t j = 0; j < kCopies; ++j) {
      if (kCopies > 1) {
        const uint32_t cell = (i * gridDim.x + blockIdx.x) * kCopies + j;
        from = data + size_t(cell * 0x9e3779b1u & (pieces * kCopies - 1)) * kCopyBytes;
      }
      asm volatile(
          "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, "
          "[%3];" ::"r"(shared_address(ring + stage * kPieceBytes + j * kCopyBytes)),
          "l"(from), "r"(kCopyBytes), "r"(shared_address(&full[stage]))
          : "memory");
    }
  };
  if (threadIdx.x == 0) {
    for (uint32_t i = 0; i < min(own, uint32_t(kStages)); ++i) load(i);
  }
  uint32_t sum = 0;
  for (uint32_t i = 0; i < own; ++i) {
    const uint32_t stage = i % kStages, parity = i / kStages % 2;
    uint32_t has_landed = 0;
    while (!has_landed) {
      asm volatile(
          "{\n.reg .pred done;\n"
          "mbarrier.try_wait.parity.shared::cta.b64 done, [%1], %2;\n"
          "selp.u32 %0, 1, 0, done;\n}"
          : "=r"(has_landed)
          : "r"(shared_address(&full[stage])), "r"(parity)
          : "memory");
    }
    sum ^= *reinterpret_cast<const uint32_t*>(ring + stage * kPieceBytes + threadIdx.x * 4);
    __syncthreads();
    if (threadIdx.x == 0 && i + kStages < own) load(i + kStages);
  }
  wait_for_previous();
  if (sum == 0x12345678) *sink = sum;
#endif
}

__global__ void fill_words(uint32_t* data, size_t count) {
  const size_t stride = size_t(gridDim.x) * blockDim.x;
  for (size_t i = blockIdx.x * size_t(blockDim.x) + threadIdx.x; i < count; i += stride) {
    data[i] = uint32_t(i * 0x9e3779b97f4a7c15ull >> 32);
  }
}

__global__ void fill_halves(__half* data, size_t count, uint32_t seed) {
  const size_t stride = size_t(gridDim.x) * blockDim.x;
  for (size_t i = blockIdx.x * size_t(blockDim.x) + threadIdx.x; i < count; i += stride) {
    data[i] = __float2half_rn(random_value(seed, i));
  }
}

struct Reader {
  const char* name;
  std::function<void(const std::byte*, size_t)> read;
  bool is_scattered = false;
};

double measure_gemm(CudaDevice& device, const Options& options, Cublas& cublas) {
  constexpr int kSize = 8192;
  const size_t count = size_t(kSize) * kSize;
  Stream& stream = device.stream();
  const Memory x = device.allocate(count * 2), weight = device.allocate(count * 2),
               out = device.allocate(count * 2);
  fill_halves<<<1024, 256, 0, stream.handle>>>(x.as<__half>(), count, 1);
  fill_halves<<<1024, 256, 0, stream.handle>>>(weight.as<__half>(), count, 2);
  const Timing timing = time_stream(stream, options, 2, [&](int) {
    cublas.gemm(kSize, kSize, kSize, x.data(), weight.data(), out.data());
  });
  return 2.0 * kSize * kSize * kSize / timing.microseconds * 1e6;
}

void measure_link(CudaDevice& device) {
  constexpr size_t kPiece = 16 << 20;
  constexpr int kCount = 24;
  Stream& stream = device.stream();
  const Memory host = device.allocate(kPiece * 2, Tier::kHost);
  const Memory memory = device.allocate(kPiece * 2);
  Options options;
  options.replays = 5;
  double rates[2];
  for (const bool up : {true, false}) {
    const Timing timing = time_stream(stream, options, kCount, [&](int i) {
      std::byte* there = memory.data() + i % 2 * kPiece;
      std::byte* here = host.data() + i % 2 * kPiece;
      check(up ? cudaMemcpyAsync(there, here, kPiece, cudaMemcpyHostToDevice, stream.handle)
               : cudaMemcpyAsync(here, there, kPiece, cudaMemcpyDeviceToHost, stream.handle),
            "Cannot copy");
    });
    rates[up] = kPiece / timing.microseconds * 1e6;
  }
  std::printf("link: to the device %.1f, back %.1f GB/s (16 MiB pinned)\n", rates[1] * 1e-9,
              rates[0] * 1e-9);
  Result("link").add("to_device", rates[1]).add("to_host", rates[0]).write();
}

}  // namespace

Ceilings measure_ceilings(CudaDevice& device, const Options& options, Cublas* cublas) {
  Ceilings ceilings;
  Stream& stream = device.stream();
  const Memory memory = device.allocate(kReadBytes), sink = device.allocate(256);
  fill_words<<<1024, 256, 0, stream.handle>>>(memory.as<uint32_t>(), kReadBytes / 4);
  check(cudaStreamSynchronize(stream.handle), "Cannot fill memory");

  std::vector<Reader> readers;
  for (const int ctas : {2, 4}) {
    readers.push_back({ctas == 2 ? "plain, 2 CTAs" : "plain, 4 CTAs",
                       [&, ctas](const std::byte* data, size_t bytes) {
                         launch(stream, read_plain, dim3(stream.num_multiprocessors * ctas),
                                dim3(kPlainThreads), 0, reinterpret_cast<const uint4*>(data),
                                bytes / 16, sink.as<uint32_t>());
                       }});
  }
  if (stream.code.compute_capability >= 90) {
    const auto add = [&](const char* name, auto kernel, bool is_scattered) {
      cuda::allow_shared_memory(kernel, kStages * kPieceBytes);
      readers.push_back({name,
                         [&, kernel](const std::byte* data, size_t bytes) {
                           launch(stream, kernel, dim3(stream.num_multiprocessors), dim3(128),
                                  kStages * kPieceBytes, data, uint32_t(bytes / kPieceBytes),
                                  sink.as<uint32_t>());
                         },
                         is_scattered});
    };
    add("bulk", read_bulk<kPieceBytes>, false);
    add("bulk, 8 KiB anywhere", read_bulk<8192>, true);
    add("bulk, 4 KiB anywhere", read_bulk<4096>, true);
    add("bulk, 2 KiB anywhere", read_bulk<2048>, true);
  }
  for (const Reader& reader : readers) {
    Options few = options;
    few.replays = 10;
    const Timing whole =
        time_graph(stream, few, 1, [&](int) { reader.read(memory.data(), kReadBytes); });
    const double rate = kReadBytes / whole.microseconds * 1e6;
    if (!reader.is_scattered) ceilings.read = std::max(ceilings.read, rate);
    std::printf("read: %-21s %.3f TB/s", reader.name, rate * 1e-12);
    Result result("read");
    result.add("how", reader.name).add("bytes_per_second", rate);
    for (const int megabytes : {52, 142, 283}) {
      if (reader.is_scattered) break;
      const size_t bytes = size_t(megabytes) * 1'000'000 / kPieceBytes * kPieceBytes;
      const int count = int(kReadBytes / bytes);
      const Timing one = time_graph(stream, few, count,
                                    [&](int i) { reader.read(memory.data() + i * bytes, bytes); });
      std::printf("  %d MB %.1f us", megabytes, one.microseconds);
      result.add(format("us_%d_mb", megabytes).c_str(), one.microseconds);
    }
    std::printf("\n");
    result.write();
  }
  if (!options.quick) measure_link(device);
  if (cublas != nullptr) {
    ceilings.fp16_flops = measure_gemm(device, options, *cublas);
    std::printf("fp16: %.0f TFLOP/s (cuBLAS, 8192³)\n", ceilings.fp16_flops * 1e-12);
    Result("gemm").add("flops_per_second", ceilings.fp16_flops).write();
  }
  std::fflush(stdout);
  return ceilings;
}

}  // namespace hearth::bench

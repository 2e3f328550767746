#include "bench.cuh"

namespace hearth::bench {
namespace {

std::FILE* results = nullptr;

// What the first kernel of a graph takes. Kernels of other libraries may refuse to tell.
void describe_kernel(cudaGraph_t graph, Timing& timing) {
  size_t count = 0;
  if (cudaGraphGetNodes(graph, nullptr, &count) != cudaSuccess || count == 0) return;
  std::vector<cudaGraphNode_t> nodes(count);
  cudaGraphGetNodes(graph, nodes.data(), &count);
  for (cudaGraphNode_t node : nodes) {
    cudaGraphNodeType type;
    cudaKernelNodeParams params;
    if (cudaGraphNodeGetType(node, &type) != cudaSuccess) break;
    if (type != cudaGraphNodeTypeKernel) continue;
    if (cudaGraphKernelNodeGetParams(node, &params) != cudaSuccess) break;
    cudaFuncAttributes attributes = {};
    if (cudaFuncGetAttributes(&attributes, params.func) != cudaSuccess) break;
    timing.registers = attributes.numRegs;
    timing.grid = params.gridDim;
    timing.threads = int(params.blockDim.x * params.blockDim.y * params.blockDim.z);
    timing.shared_bytes = params.sharedMemBytes + attributes.sharedSizeBytes;
    cudaOccupancyMaxActiveBlocksPerMultiprocessor(&timing.ctas_per_multiprocessor, params.func,
                                                  timing.threads, params.sharedMemBytes);
    break;
  }
  cudaGetLastError();  // a refusal is no failure
}

template <class Run>
void time_replays(Stream& stream, int replays, int count, Timing& timing, const Run& run) {
  const cuda::Event begin = cuda::make_event(), end = cuda::make_event();
  std::vector<double> times;
  for (int i = -3; i < replays; ++i) {
    check(cudaEventRecord(begin, stream.handle), "Cannot time");
    run();
    check(cudaEventRecord(end, stream.handle), "Cannot time");
    check(cudaEventSynchronize(end), "Cannot run");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, begin, end), "Cannot time");
    if (i >= 0) times.push_back(milliseconds * 1e3 / count);
  }
  std::sort(times.begin(), times.end());
  timing.microseconds = median(times);
  timing.spread = (times[times.size() * 3 / 4] - times[times.size() / 4]) / timing.microseconds;
}

}  // namespace

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? NAN : values[values.size() / 2];
}

Timing time_graph(Stream& stream, const Options& options, int count,
                  const std::function<void(int)>& body) {
  Timing timing;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  check(cudaStreamBeginCapture(stream.handle, cudaStreamCaptureModeThreadLocal), "Cannot record");
  try {
    for (int i = 0; i < count; ++i) body(i);
  } catch (...) {
    cudaStreamEndCapture(stream.handle, &graph);
    cudaGetLastError();
    throw;
  }
  check(cudaStreamEndCapture(stream.handle, &graph), "Cannot record");
  describe_kernel(graph, timing);
  check(cudaGraphInstantiate(&exec, graph, 0), "Cannot record");
  check(cudaGraphUpload(exec, stream.handle), "Cannot record");
  time_replays(stream, options.replays, count, timing,
               [&] { check(cudaGraphLaunch(exec, stream.handle), "Cannot replay"); });
  cudaGraphExecDestroy(exec);
  cudaGraphDestroy(graph);
  return timing;
}

Timing time_stream(Stream& stream, const Options& options, int count,
                   const std::function<void(int)>& body) {
  Timing timing;
  time_replays(stream, options.replays, count, timing, [&] {
    for (int i = 0; i < count; ++i) body(i);
  });
  return timing;
}

void open_results(const char* path) {
  results = std::fopen(path, "a");
  if (results == nullptr) throw Error(HEARTH_IO_ERROR, format("Cannot write %s", path));
}

Result& Result::add(const char* key, const char* value) {
  text_ += format("%s\"%s\": \"%s\"", text_.empty() ? "" : ", ", key, value);
  return *this;
}

Result& Result::add(const char* key, double value) {
  if (!std::isfinite(value)) return *this;  // JSON has no NaN
  text_ += format("%s\"%s\": %.7g", text_.empty() ? "" : ", ", key, value);
  return *this;
}

void Result::write() const {
  if (results == nullptr) return;
  std::fprintf(results, "{%s}\n", text_.c_str());
  std::fflush(results);
}

}  // namespace hearth::bench

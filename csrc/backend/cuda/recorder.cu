#include "recorder.h"

#include <algorithm>

namespace hearth::cuda {

Recorder::~Recorder() {
  for (auto& [key, recorded] : graphs_) cudaGraphExecDestroy(recorded.graph);
}

bool Recorder::begin() {
  launches_before_ = stream_.num_launches;
  const cudaError_t status = cudaStreamBeginCapture(stream_.handle, cudaStreamCaptureModeRelaxed);
  if (status != cudaSuccess) cudaGetLastError();
  is_recording_ = status == cudaSuccess;
  return is_recording_;
}

void Recorder::end(const RecordKey& key) {
  is_recording_ = false;
  Recorded recorded;
  recorded.num_launches = stream_.num_launches - launches_before_;
  stream_.num_launches = launches_before_;
  cudaGraph_t graph = nullptr;
  cudaError_t status = cudaStreamEndCapture(stream_.handle, &graph);
  if (status == cudaSuccess) status = cudaGraphInstantiate(&recorded.graph, graph, 0);
  if (graph != nullptr) cudaGraphDestroy(graph);
  // What a launch needs on the device is taken now, not by the first one.
  if (status == cudaSuccess) status = cudaGraphUpload(recorded.graph, stream_.handle);
  if (status != cudaSuccess) {
    if (recorded.graph != nullptr) cudaGraphExecDestroy(recorded.graph);
    cudaGetLastError();
    return;
  }
  if (graphs_.size() == kMostRecorded) drop_least_used();
  graphs_[key] = recorded;
  num_recorded_ = graphs_.size();
}

void Recorder::abandon() {
  if (!is_recording_) return;
  is_recording_ = false;
  cudaGraph_t graph = nullptr;
  cudaStreamEndCapture(stream_.handle, &graph);
  if (graph != nullptr) cudaGraphDestroy(graph);
  cudaGetLastError();
}

void Recorder::drop_least_used() {
  const auto least = std::min_element(graphs_.begin(), graphs_.end(), [](auto& a, auto& b) {
    return a.second.num_uses < b.second.num_uses;
  });
  cudaGraphExecDestroy(least->second.graph);
  graphs_.erase(least);
}

void Recorder::launch(const RecordKey& key) {
  Recorded& recorded = graphs_.at(key);
  check(cudaGraphLaunch(recorded.graph, stream_.handle), "Cannot launch a recorded step");
  stream_.num_launches += recorded.num_launches;
  ++recorded.num_uses;
}

}  // namespace hearth::cuda

// A file of weights: read by ranges, since a mapped file that is truncated would be a SIGBUS.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace hearth {

/// A weights file, open for reading as long as this lives.
class WeightsFile {
 public:
  /// Throws Error(HEARTH_IO_ERROR) for what cannot be opened or is no regular file.
  explicit WeightsFile(std::string path);
  ~WeightsFile();
  WeightsFile(WeightsFile&& other) noexcept;
  WeightsFile& operator=(WeightsFile&&) = delete;

  const std::string& path() const { return path_; }
  uint64_t size() const { return size_; }
  /// Throws Error(HEARTH_IO_ERROR) where the file ends before offset + bytes.
  void read(uint64_t offset, size_t bytes, std::byte* target) const;

 private:
  std::string path_;
  int descriptor_;
  uint64_t size_ = 0;
};

}  // namespace hearth

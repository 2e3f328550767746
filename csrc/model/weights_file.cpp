#include "weights_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "../error.h"

namespace hearth {

WeightsFile::WeightsFile(std::string path) : path_(std::move(path)) {
  // O_NONBLOCK: opening a FIFO would wait for its other end.
  descriptor_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor_ < 0) {
    throw Error(HEARTH_IO_ERROR,
                format("Cannot open weights file %s: %s", path_.c_str(), std::strerror(errno)));
  }
  struct stat status;
  if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor_);
    throw Error(HEARTH_IO_ERROR,
                format("Cannot open weights file %s: it is no regular file", path_.c_str()));
  }
  size_ = uint64_t(status.st_size);
}

WeightsFile::WeightsFile(WeightsFile&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)),
      size_(other.size_) {}

WeightsFile::~WeightsFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void WeightsFile::read(uint64_t offset, size_t bytes, std::byte* target) const {
  while (bytes > 0) {
    const ssize_t got = ::pread(descriptor_, target, bytes, off_t(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      throw Error(HEARTH_IO_ERROR,
                  format("Cannot read weights file %s: %s", path_.c_str(),
                         got == 0 ? "it has become shorter" : std::strerror(errno)));
    }
    target += got;
    offset += uint64_t(got);
    bytes -= size_t(got);
  }
}

}  // namespace hearth

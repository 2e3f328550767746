#include "machine.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <vector>

#include "../backend/cpu/thread_pool.h"

namespace hearth {

namespace {

constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();

/// The first word of a file as a number; nothing where there is none ("max", no file).
std::optional<int64_t> read_number(const std::string& path) {
  std::ifstream file(path);
  int64_t value;
  if (file >> value) return value;
  return std::nullopt;
}

/// `key value` lines; a colon after the key is left out.
std::optional<uint64_t> read_field(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string word; file >> word;) {
    uint64_t value;
    if ((word == key || word == key + ":") && file >> value) return value;
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return std::nullopt;
}

/// Folders of this process's cgroup and of all above it, for a controller of version 1 or, with "",
/// of version 2. Inside a container the path may not exist there: then the root alone counts.
std::vector<std::string> cgroup_folders(const std::string& controller) {
  const std::string root = "/sys/fs/cgroup" + (controller.empty() ? "" : "/" + controller);
  std::vector<std::string> folders{root};
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {  // hierarchy:controllers:path
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    if (controllers.find("," + controller + ",") == std::string::npos) continue;
    for (std::string path = line.substr(second + 1); path.size() > 1;
         path.resize(path.rfind('/'))) {
      folders.push_back(root + path);
    }
  }
  return folders;
}

void limit_memory(Machine& machine, const std::string& folder, const char* limit_file,
                  const char* usage_file, const char* cache_field) {
  const auto limit = read_number(folder + limit_file);
  if (!limit || *limit <= 0) return;
  const uint64_t used = uint64_t(read_number(folder + usage_file).value_or(0));
  const uint64_t cache = read_field(folder + "/memory.stat", cache_field).value_or(0);
  const uint64_t held = used - std::min(used, cache);
  machine.memory_bytes = std::min(machine.memory_bytes, uint64_t(*limit));
  machine.free_bytes =
      std::min(machine.free_bytes, uint64_t(*limit) - std::min(held, uint64_t(*limit)));
}

std::string read_cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.rfind("model name", 0) == 0 && colon != std::string::npos) {
      return line.substr(colon + 2);
    }
  }
  return "CPU";
}

}  // namespace

Machine read_machine() {
  Machine machine;
  machine.num_cores = uint32_t(usable_cores());
  const auto kibibytes = [](const char* key) {
    const auto value = read_field("/proc/meminfo", key);
    return value ? *value * 1024 : kNoLimit;
  };
  machine.memory_bytes = kibibytes("MemTotal");
  machine.free_bytes = kibibytes("MemAvailable");
  for (const std::string& folder : cgroup_folders("")) {
    limit_memory(machine, folder, "/memory.max", "/memory.current", "inactive_file");
  }
  for (const std::string& folder : cgroup_folders("memory")) {
    limit_memory(machine, folder, "/memory.limit_in_bytes", "/memory.usage_in_bytes",
                 "total_inactive_file");
  }
  machine.cpu_name = read_cpu_name();
  return machine;
}

}  // namespace hearth

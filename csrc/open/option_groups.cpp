#include "option_groups.h"

#include <cstring>
#include <set>
#include <string>

#include "../sized_struct.h"

namespace hearth {

namespace {

constexpr char kDoing[] = "Cannot open engine";

/// What every group begins with, and all that one has today.
struct EmptyGroup {
  uint32_t size;
};

const char* group_name(uint32_t id) {
  switch (id) {
    case HEARTH_OPTIONS_MEMORY: return "memory";
    case HEARTH_OPTIONS_KV: return "kv";
    case HEARTH_OPTIONS_SPECULATION: return "speculation";
    default: return nullptr;
  }
}

void check_range(const std::string& field, uint64_t offset, uint64_t bytes, uint64_t alignment,
                 uint64_t flat_bytes) {
  const std::string place =
      format("%llu bytes at %llu", (unsigned long long)bytes, (unsigned long long)offset);
  if (offset % alignment != 0) {
    refuse(kDoing, field, format("lie at a multiple of %llu", (unsigned long long)alignment),
           place);
  }
  if (offset + bytes > flat_bytes) {
    refuse(kDoing, field,
           format("lie in the flat buffer of %llu bytes", (unsigned long long)flat_bytes), place);
  }
}

}  // namespace

void check_option_groups(const hearth_engine_options& options, const uint8_t* flat) {
  if (options.groups_count == 0) return;
  check_range("groups", options.groups_offset,
              uint64_t(options.groups_count) * sizeof(hearth_option_group),
              alignof(hearth_option_group), options.flat_bytes);
  std::set<uint32_t> seen;
  for (uint32_t i = 0; i < options.groups_count; ++i) {
    hearth_option_group group;
    std::memcpy(&group, flat + options.groups_offset + i * sizeof(group), sizeof(group));
    const char* known = group_name(group.id);
    if (known == nullptr) {
      throw Error(HEARTH_UNSUPPORTED, kDoing, format("groups[%u].id", i),
                  "be MEMORY (1), KV (2) or SPECULATION (3)", std::to_string(group.id));
    }
    const std::string name = format("group %s", known);
    if (!seen.insert(group.id).second) refuse(kDoing, name, "appear once");
    check_range(name, group.offset, group.bytes, 8, options.flat_bytes);
    if (group.bytes < sizeof(EmptyGroup)) {
      refuse(kDoing, name, format("have at least %zu bytes", sizeof(EmptyGroup)),
             std::to_string(group.bytes));
    }
    uint32_t size;
    std::memcpy(&size, flat + group.offset, sizeof(size));
    if (size != group.bytes) {
      refuse(kDoing, name + ".size", format("be %u, as the table says", group.bytes),
             std::to_string(size));
    }
    read_struct<EmptyGroup>(kDoing, name, flat + group.offset, sizeof(EmptyGroup));
  }
}

}  // namespace hearth

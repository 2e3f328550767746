#include "error.h"

#include <utility>

namespace hearth {

namespace {

std::string sentence(const std::string& doing, const std::string& field, const std::string& rule,
                     const std::string& value) {
  const std::string broken = doing + ": " + field + " must " + rule;
  return value.empty() ? broken : broken + ": current value is " + value;
}

}  // namespace

Error::Error(hearth_status status, const std::string& doing, std::string field, std::string rule,
             std::string value)
    : std::runtime_error(sentence(doing, field, rule, value)), status_(status),
      field_(std::move(field)), rule_(std::move(rule)), value_(std::move(value)) {}

void refuse(const std::string& doing, std::string field, std::string rule, std::string value) {
  throw Error(HEARTH_INVALID_ARGUMENT, doing, std::move(field), std::move(rule), std::move(value));
}

hearth_error to_abi(const Error& error) noexcept {
  hearth_error out = to_abi(error.status(), error.what());
  write_text(error.field(), out.field, sizeof(out.field));
  write_text(error.rule(), out.rule, sizeof(out.rule));
  write_text(error.value(), out.value, sizeof(out.value));
  return out;
}

hearth_error to_abi(hearth_status status, std::string_view message) noexcept {
  hearth_error out{};
  out.size = sizeof(out);
  out.status = status;
  write_text(message, out.message, sizeof(out.message));
  return out;
}

}  // namespace hearth

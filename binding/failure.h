// The one exception this addon throws on purpose: it crosses to JavaScript as { code, message, backtrace }.
#pragma once

#include <stdexcept>
#include <string>

namespace torchgraft {

struct Failure : std::runtime_error {
  std::string code;
  std::string detail;
  Failure(std::string code, const std::string& message, std::string detail = {})
      : std::runtime_error(message), code(std::move(code)), detail(std::move(detail)) {}
};

}  // namespace torchgraft

// The one exception this addon throws on purpose: it crosses to JavaScript as { code, message, backtrace, facts }.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace torchgraft {

struct Failure : std::runtime_error {
  using Facts = std::vector<std::pair<std::string, std::string>>;
  std::string code;
  std::string detail;
  // For TypeScript to make a sentence of; mostly empty.
  Facts facts;
  Failure(std::string code, const std::string& message, std::string detail = {}, Facts facts = {})
      : std::runtime_error(message), code(std::move(code)), detail(std::move(detail)), facts(std::move(facts)) {}
};

}  // namespace torchgraft

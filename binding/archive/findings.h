// What the archive room throws. Its callers know the file's name and which code the error has.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace torchgraft::archive {

// What a file turned out to be, and a few words about it by name, for TypeScript to make a sentence of.
struct Finding {
  std::string kind;
  std::vector<std::pair<std::string, std::string>> facts;
};

// Names come from the file: control characters would move a terminal's cursor.
inline std::string printable(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 32 || c == 127) c = '?';
  }
  return text;
}

// The file must not be opened. The text continues a sentence that begins with its name: "is damaged: ...".
struct Unfit : std::runtime_error {
  explicit Unfit(std::string why) : std::runtime_error(printable(std::move(why))) {}
};

// The file is something else than what was asked for.
struct WrongKind : std::runtime_error {
  Finding finding;
  // Those of the finding, with its kind.
  std::vector<std::pair<std::string, std::string>> facts() const {
    auto all = finding.facts;
    all.emplace_back("kind", finding.kind);
    return all;
  }
  explicit WrongKind(Finding found) : std::runtime_error("is not a TorchScript model (" + found.kind + ")."), finding(std::move(found)) {}
};

}  // namespace torchgraft::archive

#include "forward_failure.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <sstream>

#include "failure.h"
#include "input_trial.h"
#include "model.h"
#include "precision.h"
#include "purpose.h"

namespace torchgraft {

namespace {

// Characters of a model's own words that a message has.
constexpr size_t kLongest = 1000;

// A place in the model's Python source; `code` is empty where the model was traced.
struct Place {
  std::string file;
  std::string line;
  std::string code;
};

std::vector<std::string> linesOf(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::string trimmed(const std::string& text) {
  const auto from = text.find_first_not_of(" \t\r\n");
  if (from == std::string::npos) return "";
  return text.substr(from, text.find_last_not_of(" \t\r\n") - from + 1);
}

bool isOfPyTorch(const std::string& file) {
  return file.find("/torch/") != std::string::npos || file.find("\\torch\\") != std::string::npos;
}

bool isNumber(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char letter) { return std::isdigit(letter); });
}

// `  File "net.py", line 6, in forward`
std::optional<Place> scriptedFrame(const std::string& line) {
  static const std::string begin = "  File \"", middle = "\", line ";
  const auto at = line.rfind(middle);
  if (line.rfind(begin, 0) != 0 || at == std::string::npos) return {};
  const auto from = at + middle.size();
  const auto end = line.find(',', from);
  if (end == std::string::npos || !isNumber(line.substr(from, end - from))) return {};
  return Place{line.substr(begin.size(), at - begin.size()), line.substr(from, end - from), ""};
}

// `net.py(6): forward`
std::optional<Place> tracedFrame(const std::string& line) {
  const auto end = line.rfind("): ");
  if (end == std::string::npos || line[0] == ' ') return {};
  const auto open = line.rfind('(', end);
  if (open == std::string::npos || open == 0 || !isNumber(line.substr(open + 1, end - open - 1))) return {};
  return Place{line.substr(0, open), line.substr(open + 1, end - open - 1), ""};
}

// The innermost last. Below a scripted model's frames stands source with a mark below the statement; a traced model's are
// the innermost first, without.
std::vector<Place> placesIn(const std::vector<std::string>& lines, size_t from) {
  std::vector<Place> places;
  for (size_t i = from; i < lines.size(); ++i) {
    if (auto place = scriptedFrame(lines[i])) {
      places.push_back(*place);
    } else if (auto traced = tracedFrame(lines[i])) {
      places.insert(places.begin(), *traced);
    } else if (!places.empty() && i > 0 && lines[i].find("<--- HERE") != std::string::npos) {
      places.back().code = trimmed(lines[i - 1]);
    }
  }
  return places;
}

// The innermost place that is the model's own and no layer of PyTorch.
std::string describePlace(const std::vector<Place>& places) {
  for (auto place = places.rbegin(); place != places.rend(); ++place) {
    if (isOfPyTorch(place->file)) continue;
    const std::string name = place->file.substr(place->file.find_last_of("/\\") + 1);
    return " (line " + place->line + " of " + name + (place->code.empty() ? "" : ": " + place->code) + ")";
  }
  return "";
}

// "builtins.ValueError: input must be 96" -> "ValueError: input must be 96"; what libtorch itself says has no kind.
std::string withoutKind(std::string text) {
  for (const char* prefix : {"builtins.", "RuntimeError: "}) {
    if (text.rfind(prefix, 0) == 0) text = text.substr(std::string(prefix).size());
  }
  return text;
}

// One line; the backtrace of C++ that some operators append is left out.
std::string flattened(const std::string& text) {
  std::string flat;
  for (const std::string& line : linesOf(text.substr(0, text.find("\nException raised from ")))) {
    const std::string part = trimmed(line);
    if (!part.empty()) flat += (flat.empty() ? "" : " ") + part;
  }
  if (flat.size() <= kLongest) return flat;
  flat.resize(kLongest);
  return flat += " ...";
}

// `builtins.ValueError: ...`
bool beginsWithKind(const std::string& line) {
  const auto colon = line.find(':');
  if (colon == std::string::npos || colon == 0) return false;
  return std::all_of(line.begin(), line.begin() + static_cast<std::ptrdiff_t>(colon), [](unsigned char letter) { return std::isalnum(letter) || letter == '_' || letter == '.'; });
}

std::string asSentence(std::string text) {
  while (!text.empty() && (text.back() == '.' || text.back() == ':' || text.back() == ' ')) text.pop_back();
  return text;
}

}  // namespace

std::string reasonOf(const std::string& words) {
  const std::vector<std::string> lines = linesOf(words);
  size_t trace = lines.size();
  size_t source = lines.size();
  for (size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].rfind("Traceback of TorchScript", 0) != 0) continue;
    trace = i;
    if (lines[i].find("original code") != std::string::npos) source = i;
  }
  if (trace == lines.size()) return asSentence(flattened(withoutKind(words)));
  // Source is indented, and frames hold a path: the first line with a kind of error is the beginning of what was said.
  std::string reason;
  bool isFound = false;
  for (size_t i = trace + 1; i < lines.size(); ++i) {
    isFound = isFound || beginsWithKind(lines[i]);
    if (isFound) reason += lines[i] + "\n";
  }
  reason = asSentence(flattened(withoutKind(reason)));
  if (source == lines.size()) return reason;
  return reason + describePlace(placesIn(lines, source));
}

void refuseForward(const std::vector<at::Tensor>& inputs, const std::exception& error, Model* model) {
  std::string shapes;
  for (const at::Tensor& input : inputs) shapes += " " + dtypeName(input.scalar_type()) + " " + c10::str(input.sizes());
  const std::string words = error.what();
  std::string advice = model ? otherPurpose(*model) : "";
  if (model && advice.empty()) advice = tryOtherInputs(model->module(), model->facts().traced, inputs);
  throw Failure("MODEL_FAILED", "The model's forward failed on input" + shapes + ": " + reasonOf(words) + "." +
                                    (advice.empty() ? "" : " " + advice), words);
}

}  // namespace torchgraft

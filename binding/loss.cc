#include "loss.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <torch/jit.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>
#include <string_view>

#include "failure.h"
#include "forward_failure.h"

namespace torchgraft {

namespace {

// libtorch's parser recurses once per nested operator: within these bounds it fits a stack of 2 MiB.
constexpr size_t sourceLength = 8192;
constexpr int64_t sourceOperators = 1000;

constexpr const char* sourceHint =
    "Expected TorchScript with one function, `def loss(output, target):`, that returns a scalar tensor; no imports, "
    "and functions of `torch` by their native names, for example torch.cross_entropy_loss(output, target) or "
    "torch.log_softmax(output, 1).";

std::string text(at::IntArrayRef sizes) {
  std::string joined;
  for (auto size : sizes) joined += (joined.empty() ? "" : ", ") + std::to_string(size);
  return "[" + joined + "]";
}

std::string describe(const at::Tensor& tensor) {
  return std::string(c10::toString(tensor.scalar_type())) + " " + text(tensor.sizes());
}

[[noreturn]] void refuseTarget(const at::Tensor& output, const at::Tensor& target, const std::string& expected) {
  throw Failure("SHAPE_MISMATCH", "The target is " + describe(target) + " and the model's output is " +
                                      describe(output) + "; expected " + expected + ".");
}

bool holdsIndices(const at::Tensor& target) {
  return at::isIntegralType(target.scalar_type(), /*includeBool=*/false);
}

// Class indices as int64 beside the output. An index that is no class must not reach a kernel: on a GPU it would end
// the whole process's use of the device.
at::Tensor checkedIndices(const at::Tensor& output, const at::Tensor& target) {
  int64_t classes = output.size(1);
  auto indices = target.to(at::kLong);
  int64_t low = indices.min().item<int64_t>();
  int64_t high = indices.max().item<int64_t>();
  if (low < 0 || high >= classes)
    throw Failure("SHAPE_MISMATCH", "The target has class index " + std::to_string(low < 0 ? low : high) +
                                        ", but the model's output has " + std::to_string(classes) +
                                        " classes (0 to " + std::to_string(classes - 1) + ").");
  return indices.to(output.device());
}

// Indices of shape [n, ...] for an output of shape [n, classes, ...].
at::Tensor classTarget(const at::Tensor& output, const at::Tensor& target) {
  if (output.dim() < 2) refuseTarget(output, target, "an output of [n, classes]");
  auto sizes = output.sizes().vec();
  sizes.erase(sizes.begin() + 1);
  if (!holdsIndices(target) || target.sizes() != at::IntArrayRef(sizes))
    refuseTarget(output, target, "class indices (int64 or int32) of shape " + text(sizes) + ", or shares of the classes, floats of shape " + text(output.sizes()));
  return checkedIndices(output, target);
}

// Of a row of shares: what summing them in float32, or in half precision before they came, may be off.
constexpr double shareTolerance = 1e-3;

bool holdsShares(const at::Tensor& output, const at::Tensor& target) {
  return target.is_floating_point() && output.dim() >= 2 && target.sizes() == output.sizes();
}

// Shares of the classes of the output's shape, beside the output. Checked where they lie.
at::Tensor shareTarget(const at::Tensor& output, const at::Tensor& target) {
  const double off = (target.sum(1) - 1).abs().max().item<double>();
  // Not `>`: NaN is refused too.
  if (!(off <= shareTolerance) || !(target.min().item<double>() >= 0))
    throw Failure("INVALID_VALUE", "The target's shares of the classes must not be negative and sum to 1 for each sample; one "
                                   "is off by " + std::to_string(off) + ". Divide each row by its sum, or pass class indices.");
  return target.to(output.device(), output.scalar_type());
}

// Values of the output's shape; class indices become one-hot, and [n] fits an output of [n, 1].
at::Tensor valueTarget(const at::Tensor& output, const at::Tensor& target) {
  if (target.sizes() == output.sizes()) return target.to(output.device(), output.scalar_type());
  if (output.dim() == 2 && target.dim() == 1 && target.size(0) == output.size(0)) {
    if (holdsIndices(target)) {
      auto indices = checkedIndices(output, target);
      return at::zeros_like(output).scatter_(1, indices.unsqueeze(1), 1);
    }
    if (output.size(1) == 1) return target.unsqueeze(1).to(output.device(), output.scalar_type());
  }
  refuseTarget(output, target, "values of shape " + text(output.sizes()) + ", or class indices [n] for an output of [n, classes]");
}

at::Tensor focalLoss(const at::Tensor& output, const at::Tensor& indices, const at::Tensor& weights, double gamma, int64_t reduction) {
  auto logProbability = at::log_softmax(output, 1).gather(1, indices.unsqueeze(1)).squeeze(1);
  // 1 - p, exact near p = 1, and kept above 0: the slope of x^gamma at 0 is infinite for gamma < 1.
  auto doubt = at::expm1(logProbability).neg().clamp_min(1e-30);
  auto losses = -at::pow(doubt, gamma) * logProbability;
  if (weights.defined()) losses = losses * weights.take(indices);
  return reduction == at::Reduction::None ? losses : losses.mean();
}

at::Tensor focalLossOfShares(const at::Tensor& output, const at::Tensor& shares, const at::Tensor& weights, double gamma,
                             int64_t reduction) {
  auto logProbability = at::log_softmax(output, 1);
  auto doubt = at::expm1(logProbability).neg().clamp_min(1e-30);
  auto terms = -at::pow(doubt, gamma) * logProbability * shares;
  if (weights.defined()) {
    std::vector<int64_t> alongClasses(output.dim(), 1);
    alongClasses[1] = weights.size(0);
    terms = terms * weights.view(alongClasses);
  }
  const at::Tensor losses = terms.sum(1);
  return reduction == at::Reduction::None ? losses : losses.mean();
}

std::string trimmed(std::string_view words) {
  auto start = words.find_first_not_of(" \n");
  auto end = words.find_last_not_of(" \n");
  return start == std::string_view::npos ? "" : std::string(words.substr(start, end - start + 1));
}

// libtorch names the text `File "<string>"`, which means nothing to its author.
std::string withoutFile(std::string words) {
  const std::string file = "File \"<string>\", ";
  for (auto at = words.find(file); at != std::string::npos; at = words.find(file)) words.erase(at, file.size());
  return words;
}

std::string wordsOf(const std::exception& error) {
  auto* known = dynamic_cast<const c10::Error*>(&error);
  return known ? known->what_without_backtrace() : error.what();
}

// Where a line ends too early libtorch names the line after it and draws no caret: the mistake is at the end of the
// last line with text before that one.
std::string compileWords(const std::string& source, const std::exception& error) {
  auto words = withoutFile(trimmed(wordsOf(error)));
  const std::string heading = "\n  line ";
  auto start = words.find(heading);
  if (start == std::string::npos || words.find("<--- HERE") != std::string::npos) return words;
  int64_t named = std::atoll(words.c_str() + start + heading.size());
  std::istringstream lines(source);
  std::string line, last;
  int64_t lastNumber = 0;
  for (int64_t number = 1; number < named && std::getline(lines, line); number++) {
    if (trimmed(line).empty()) continue;
    last = line;
    lastNumber = number;
  }
  if (lastNumber == 0) return words;
  return words.substr(0, start) + heading + std::to_string(lastNumber) + "\n" + last + "\n" +
         std::string(last.size(), ' ') + "~ <--- HERE";
}

// The reason first, then the line and the caret; libtorch tells them the other way round under a heading.
std::string runtimeWords(const std::exception& error) {
  const std::string words = wordsOf(error);
  const std::string heading = "(most recent call last):\n", mark = "<--- HERE";
  const auto start = words.find(heading);
  const auto end = words.rfind(mark);
  if (start == std::string::npos || end == std::string::npos || end < start) return trimmed(words);
  const auto from = start + heading.size();
  return reasonOf(words) + "\n" + withoutFile(trimmed(std::string_view(words).substr(from, end + mark.size() - from)));
}

void checkSource(const std::string& source) {
  if (source.size() > sourceLength)
    throw Failure("SOURCE_INVALID", "`loss`: the source has " + std::to_string(source.size()) +
                                        " characters; at most " + std::to_string(sourceLength) + " are allowed.");
  auto operators = std::count_if(source.begin(), source.end(), [](char c) {
    return std::string_view("()[]{}+-*/%~<>&|^@!").find(c) != std::string_view::npos;
  });
  if (operators > sourceOperators)
    throw Failure("SOURCE_INVALID", "`loss`: the source has " + std::to_string(operators) +
                                        " operators and brackets; at most " + std::to_string(sourceOperators) +
                                        " are allowed.");
}

std::shared_ptr<torch::jit::CompilationUnit> compileSource(const std::string& source) {
  checkSource(source);
  try {
    return torch::jit::compile(source + "\n");  // its parser wants the last line ended
  } catch (const std::exception& error) {
    throw Failure("SOURCE_INVALID",
                  "`loss`: the source does not compile: " + compileWords(source, error) + "\n" + sourceHint,
                  error.what());
  }
}

torch::jit::Function* entryOf(const torch::jit::CompilationUnit& unit) {
  auto functions = unit.get_functions();
  auto named = std::find_if(functions.begin(), functions.end(), [](auto* f) { return f->name() == "loss"; });
  auto* entry = named != functions.end() ? *named : functions.size() == 1 ? functions.front() : nullptr;
  if (!entry)
    throw Failure("SOURCE_INVALID", "`loss`: the source defines " + std::to_string(functions.size()) +
                                        " functions, none named `loss`. " + sourceHint);
  const auto& schema = entry->getSchema();
  const auto& arguments = schema.arguments();
  bool fits = arguments.size() >= 2;
  for (size_t i = 0; i < arguments.size() && fits; i++) {
    const auto& argument = arguments[i];
    fits = i < 2 ? !argument.kwarg_only() && argument.type()->kind() == c10::TypeKind::TensorType
                 : argument.default_value().has_value();
  }
  if (!fits || schema.returns().size() != 1 || schema.returns()[0].type()->kind() != c10::TypeKind::TensorType) {
    std::string found;
    for (const auto& argument : arguments)
      found += (found.empty() ? "" : ", ") + argument.name() + ": " + argument.type()->annotation_str();
    throw Failure("SOURCE_INVALID", "`loss`: `" + entry->name() + "(" + found + ") -> " +
                                        schema.returns()[0].type()->annotation_str() +
                                        "` does not take two tensors and return one. " + sourceHint);
  }
  return entry;
}

}  // namespace

Loss::Loss(LossOptions options, at::Device device) : options_(std::move(options)) {
  if (!options_.classWeights.empty())
    classWeights_ = at::tensor(options_.classWeights, at::kFloat).to(device);
  if (options_.kind == LossOptions::source) {
    unit_ = compileSource(options_.text);
    function_ = entryOf(*unit_);
  }
}

at::Tensor Loss::operator()(const at::Tensor& output, const at::Tensor& target) const {
  return compute(output, target, at::Reduction::Mean);
}

at::Tensor Loss::each(const at::Tensor& output, const at::Tensor& target) const {
  if (options_.kind == LossOptions::source)
    throw Failure("INVALID_VALUE", "`loss` of source text gives one number for a batch: its samples cannot be weighted. Use a loss by name.");
  auto losses = compute(output, target, at::Reduction::None);
  return losses.dim() > 1 ? losses.flatten(1).mean(1) : losses;
}

at::Tensor Loss::compute(const at::Tensor& given, const at::Tensor& target, int64_t reduction) const {
  if (!given.is_floating_point())
    throw Failure("SHAPE_MISMATCH", "The model's output is " + describe(given) + "; a loss needs floating-point values.");
  if (given.numel() == 0 || target.numel() == 0)
    throw Failure("SHAPE_MISMATCH", "The output is " + describe(given) + " and the target " + describe(target) +
                                        ": a loss over nothing has no mean. Pass at least one sample.");
  auto output = at::isReducedFloatingType(given.scalar_type()) ? given.to(at::kFloat) : given;
  if (options_.kind == LossOptions::source) return callSource(output, target);
  auto weights = classWeights_.defined() ? classWeights_.to(output.scalar_type()) : at::Tensor();
  if (weights.defined() && (output.dim() < 2 || output.size(1) != weights.size(0)))
    throw Failure("SHAPE_MISMATCH", "`classWeights` has " + std::to_string(weights.size(0)) +
                                        " entries, but the model's output is " + describe(given) +
                                        ". Give one weight per class.");
  switch (options_.kind) {
    case LossOptions::crossEntropy:
      return at::cross_entropy_loss(output, holdsShares(output, target) ? shareTarget(output, target) : classTarget(output, target),
                                    weights, reduction, /*ignore_index=*/-100, options_.labelSmoothing);
    case LossOptions::focal:
      if (holdsShares(output, target)) return focalLossOfShares(output, shareTarget(output, target), weights, options_.gamma, reduction);
      return focalLoss(output, classTarget(output, target), weights, options_.gamma, reduction);
    case LossOptions::bceWithLogits:
      return at::binary_cross_entropy_with_logits(output, valueTarget(output, target), {}, weights, reduction);
    case LossOptions::mse:
      return at::mse_loss(output, valueTarget(output, target), reduction);
    case LossOptions::huber:
      return at::huber_loss(output, valueTarget(output, target), reduction, options_.delta);
    case LossOptions::source:
      break;
  }
  throw Failure("NATIVE", "Unknown loss.");
}

at::Tensor Loss::callSource(const at::Tensor& output, const at::Tensor& target) const {
  c10::IValue value;
  try {
    auto dtype = holdsIndices(target) ? at::kLong : target.scalar_type();
    value = (*function_)({output, target.to(output.device(), dtype)});
  } catch (const std::exception& error) {
    throw Failure("SOURCE_INVALID",
                  "`loss` failed on output " + describe(output) + " and target " + describe(target) + ": " +
                      runtimeWords(error),
                  error.what());
  }
  auto result = value.toTensor();
  if (!result.defined() || result.dim() != 0 || !result.is_floating_point())
    throw Failure("SOURCE_INVALID", "`loss` returned " + (result.defined() ? describe(result) : "no tensor") +
                                        "; expected a floating-point scalar. End with .mean() or .sum().");
  if (at::GradMode::is_enabled() && output.requires_grad() && !result.requires_grad())
    throw Failure("SOURCE_INVALID", "`loss` returned a value that does not depend on `output`: nothing can learn from it.");
  return result;
}

}  // namespace torchgraft

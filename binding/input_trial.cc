#include "input_trial.h"

#include <torch/csrc/jit/passes/inliner.h>

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "purpose.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;

// Sides of the images that public networks were made for, and of common small data sets.
const std::vector<int64_t> kUsualSides{224, 28, 32, 48, 64, 96, 128, 160, 192, 240, 256, 288, 299, 300, 320, 384, 448, 480, 512};
const std::vector<int64_t> kUsualChannels{1, 4, 2, 6, 12, 13};
// Numbers of the graph that are tried, so that a failure is told in seconds.
constexpr size_t kMostConstants = 8;

// Whole numbers of a model. In forward's graph: those that a list begins with, as the batch of view(4, -1), and all others.
struct Constants {
  std::vector<int64_t> first;
  std::vector<int64_t> all;
  // What matrices among the parameters are multiplied with.
  std::vector<int64_t> widths;
};

void add(std::vector<int64_t>& numbers, int64_t number, int64_t low, int64_t high) {
  if (number < low || number > high || numbers.size() >= kMostConstants) return;
  if (std::find(numbers.begin(), numbers.end(), number) == numbers.end()) numbers.push_back(number);
}

void collect(const jit::Block* block, Constants& found) {
  for (const jit::Node* node : block->nodes()) {
    for (const jit::Block* inner : node->blocks()) collect(inner, found);
    if (node->kind() == c10::prim::ListConstruct && !node->inputs().empty()) {
      if (const auto value = jit::toIValue(node->inputs()[0]); value && value->isInt()) add(found.first, value->toInt(), 1, 128);
    }
    if (node->kind() != c10::prim::Constant || node->outputs().empty()) continue;
    const auto value = jit::toIValue(node->output());
    if (!value) continue;
    if (value->isInt()) add(found.all, value->toInt(), 16, 640);
    if (value->isIntList() && !value->toIntVector().empty()) {
      add(found.first, value->toIntVector().front(), 1, 128);
      for (const int64_t number : value->toIntVector()) add(found.all, number, 16, 640);
    }
  }
}

Constants constantsOf(const jit::Module& module) {
  auto graph = module.get_method("forward").graph()->copy();
  jit::Inline(*graph);
  Constants found;
  collect(graph->block(), found);
  for (const auto& parameter : module.named_parameters(true)) {
    if (parameter.value.dim() == 2) add(found.widths, parameter.value.size(1), 1, 100000);
  }
  return found;
}

class Trial {
 public:
  Trial(const jit::Module& module, const at::Tensor& input) : module_(module.deepcopy()), options_(input.options().requires_grad(false)) { module_.eval(); }

  bool takes(const std::vector<int64_t>& shape, std::optional<at::ScalarType> dtype = {}) {
    try {
      module_.forward({at::zeros(shape, dtype ? options_.dtype(*dtype) : options_)});
      return true;
    } catch (const std::exception&) {
      return false;
    }
  }

 private:
  jit::Module module_;
  at::TensorOptions options_;
};

std::string square(int64_t side) { return std::to_string(side) + " x " + std::to_string(side); }

std::string sizeAdvice(int64_t side) {
  return "Images of " + square(side) + " go through it: set `preprocessing.size` to " + std::to_string(side) + " (`--image-size " +
         std::to_string(side) + "`).";
}

std::string batchAdvice(int64_t batch, const std::string& size, bool isTraced) {
  const std::string number = std::to_string(batch);
  const std::string many = batch == 1 ? "1 image" : number + " images";
  return "The model works on " + many + size + " at a time and on no other number: it was " + (isTraced ? "traced" : "written") + " for a batch of " + number +
         ". Export it again with a forward that reads the batch from its input: x.flatten(1), not x.view(" + number + ", -1)." +
         (batch == 1 ? " To predict alone, `batchSize: 1` (`--batch-size 1`) is enough." : "");
}

std::string kindAdvice(const std::string& what) { return "It takes " + what + ". " + purpose(); }

std::string adviceOn(Trial& trial, bool isTraced, const at::Tensor& input, const Constants& constants) {
  const int64_t batch = input.size(0), channels = input.size(1), side = input.size(2);
  // Another mode or value is the cause, not the shape.
  if (trial.takes(input.sizes().vec())) return "";
  std::vector<int64_t> sides = kUsualSides;
  sides.insert(sides.end(), constants.all.begin(), constants.all.end());
  std::stable_sort(sides.begin(), sides.end(), [side](int64_t a, int64_t b) { return std::abs(a - side) < std::abs(b - side); });
  for (const int64_t other : sides) {
    if (trial.takes({batch, channels, other, other})) return sizeAdvice(other);
  }
  std::vector<int64_t> batches{1};
  for (const int64_t number : constants.first) add(batches, number, 1, 128);
  for (const int64_t other : batches) {
    if (other != batch && trial.takes({other, channels, side, side})) return batchAdvice(other, "", isTraced);
  }
  for (const int64_t other : batches) {
    if (other != batch && side != 224 && trial.takes({other, channels, 224, 224})) return batchAdvice(other, " of 224 x 224", isTraced);
  }
  for (const int64_t other : kUsualChannels) {
    if (other == channels || !trial.takes({batch, other, side, side})) continue;
    return "It takes images of " + std::to_string(other) + (other == 1 ? " channel" : " channels") + ", and these have " + std::to_string(channels) +
           ": `model.adaptInput(" + std::to_string(channels) + ")` of the library changes its first convolution.";
  }
  if (trial.takes({batch, side, side, channels})) return kindAdvice("images with their channels last, [n, height, width, 3]") + " Export it with x.permute(0, 3, 1, 2) before its own forward.";
  if (trial.takes({1, 16000}) || trial.takes({1, 1, 16000})) return kindAdvice("sequences of numbers, [n, samples], as audio networks do");
  if (trial.takes({1, 16}, at::kLong)) return kindAdvice("sequences of whole numbers, [n, length], as text networks do");
  for (const int64_t width : constants.widths) {
    if (trial.takes({1, width})) return kindAdvice("rows of " + std::to_string(width) + " numbers, [n, " + std::to_string(width) + "]");
  }
  return "";
}

}  // namespace

std::string tryOtherInputs(const jit::Module& module, bool isTraced, const std::vector<at::Tensor>& inputs) {
  // Images alone: of other inputs nothing is known that could be tried.
  if (inputs.size() != 1 || inputs[0].dim() != 4 || !inputs[0].is_floating_point()) return "";
  torch::NoGradGuard guard;
  try {
    Trial trial(module, inputs[0]);
    return adviceOn(trial, isTraced, inputs[0], constantsOf(module));
  } catch (const std::exception&) {
    return "";
  }
}

}  // namespace torchgraft

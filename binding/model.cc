#include "model.h"

#include <ATen/MemoryOverlap.h>
#include <torch/csrc/jit/serialization/export.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <sstream>

#include "archive/model_file.h"
#include "compile.h"
#include "failure.h"
#include "forward_failure.h"
#include "follow_mode.h"
#include "graph_paths.h"
#include "initialise.h"
#include "outputs.h"
#include "row_major.h"
#include "standardiser.h"
#include "tied.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;

bool isBatchNorm(const jit::Module& module) { return module.hasattr("running_mean") && module.hasattr("running_var"); }

std::string firstLine(const std::string& text) { return text.substr(0, text.find('\n')); }

// libtorch's own words, of which the first line may be empty, or only say that others follow.
std::string reasonOf(const std::string& words) {
  const auto last = words.rfind("RuntimeError: ");
  if (last != std::string::npos) return firstLine(words.substr(last + 14));
  return firstLine(words.substr(std::min(words.find_first_not_of(" \n"), words.size())));
}

[[noreturn]] void refuseModel(const std::string& name, const std::exception& error) {
  static const std::string kUnknown = "Unknown builtin op: ";
  const std::string words = error.what();
  Failure::Facts facts;
  const auto at = words.find(kUnknown);
  if (at != std::string::npos) {
    const auto from = at + kUnknown.size();
    facts = {{"kind", "unknown-operator"}, {"operator", words.substr(from, words.find_first_of(".\n", from) - from)}};
  }
  throw Failure("MODEL_UNREADABLE", name + " cannot be read as a TorchScript model: " + reasonOf(words), words, facts);
}

jit::Module read(std::shared_ptr<archive::ByteSource> bytes, const std::string& name, const at::Device& device, bool safe,
                 ExtraFiles& extra) {
  try {
    safe ? archive::checkSafeModelFile(bytes) : archive::checkModelFile(bytes);
    return jit::load(std::move(bytes), device, extra);
  } catch (const archive::WrongKind& wrong) {
    throw Failure("MODEL_UNREADABLE", name + " " + wrong.what(), {}, wrong.facts());
  } catch (const archive::Unfit& unfit) {
    throw Failure("MODEL_UNREADABLE", name + " " + unfit.what());
  } catch (const c10::OutOfMemoryError&) {
    throw;
  } catch (const std::exception& error) {
    refuseModel(name, error);
  }
}

// libtorch's own file writer throws in its destructor when the disk is full, which ends the process. So it never hears
// of a failed write; we remember the first and throw when it has finished.
void write(const jit::Module& module, const std::string& path, const ExtraFiles& extra) {
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "wb"), &std::fclose);
  int failure = file ? 0 : errno;
  if (file) {
    jit::ExportModule(module, [&](const void* bytes, size_t count) {
      if (failure == 0 && std::fwrite(bytes, 1, count, file.get()) != count) failure = errno;
      return count;
    }, extra);
    if (std::fclose(file.release()) != 0 && failure == 0) failure = errno;
  }
  if (failure != 0) throw Failure("FILE_UNWRITABLE", "Cannot write " + path + ": " + std::strerror(failure) + ".");
}

}  // namespace

Model Model::load(std::shared_ptr<archive::ByteSource> bytes, const std::string& name, const at::Device& device, bool safe) {
  ExtraFiles extra{{kExtraFile, ""}};
  jit::Module module = read(std::move(bytes), name, device, safe, extra);
  return Model(std::move(module), device, std::move(extra));
}

Model::Model(jit::Module module, at::Device device, ExtraFiles extra)
    : module_(std::move(module)), device_(device), extra_(std::move(extra)) {
  unifyTied(module_);
  findings_.conversion = convertToFloat(module_, device_);
  findings_.quantised = quantisedParts(module_);
  // Before anything reads forward inlined: what was inlined once does not see a change.
  findings_.tracedInTrain = looksTraced(module_) && followMode(module_) > 0;
  inspectSavedState();
  refresh();
  findings_.changingInEval = changingInEval(module_);
  inspectBatchNorm();
}

void Model::inspectSavedState() {
  for (const auto& entry : module_.named_modules()) {
    if (entry.value.hasattr("training") && entry.value.attr("training").toBool()) findings_.savedInTrainMode = true;
  }
  for (const auto& entry : module_.named_parameters(/*recurse=*/true)) {
    if (entry.value.is_floating_point() && !entry.value.requires_grad()) findings_.savedWithoutGrad.push_back(entry.name);
  }
}

// Exporters that fold BatchNorm into the convolution before it leave mean 0 and variance 1. A network that was never
// trained looks the same, but its biases are zero and it has counted no batches.
void Model::inspectBatchNorm() {
  torch::NoGradGuard guard;
  bool identity = true;
  bool touched = false;
  findings_.batchNorms.clear();
  for (const auto& entry : module_.named_modules()) {
    const jit::Module& norm = entry.value;
    if (!isBatchNorm(norm) || !norm.attr("running_mean").isTensor()) continue;
    findings_.batchNorms.push_back(entry.name);
    const at::Tensor mean = norm.attr("running_mean").toTensor();
    const at::Tensor variance = norm.attr("running_var").toTensor();
    identity = identity && mean.abs().max().item<double>() < 1e-6 && (variance - 1).abs().max().item<double>() < 1e-3;
    const bool counted = norm.hasattr("num_batches_tracked") && norm.attr("num_batches_tracked").isTensor() &&
                         norm.attr("num_batches_tracked").toTensor().item<double>() > 0;
    const bool shifted = norm.hasattr("bias") && norm.attr("bias").isTensor() &&
                         norm.attr("bias").toTensor().abs().max().item<double>() > 0;
    touched = touched || counted || shifted;
  }
  findings_.foldedBatchNorm = !findings_.batchNorms.empty() && identity && touched;
}

void Model::refresh() {
  parameters_.clear();
  trainable_.clear();
  std::unordered_set<c10::TensorImpl*> seen;
  for (const auto& entry : module_.named_parameters(/*recurse=*/true)) {
    if (!seen.insert(entry.value.unsafeGetTensorImpl()).second) continue;
    parameters_.emplace_back(entry.name, entry.value);
  }
  otherNames_ = otherNames(module_);
  overlaps_ = torchgraft::overlappingParameters(parameters_);
  facts_ = analyseForward(module_, knownHeads_);
  rowMajor_.reset();
  knowsRowMajor_ = false;
  findWritten();
  std::vector<std::string> names;
  for (const auto& [name, tensor] : parameters_) {
    if (tensor.is_floating_point()) names.push_back(name);
  }
  setTrainable(names, false);
}

void Model::nameHeads(KnownHeads heads) {
  setKnownHeads(std::move(heads));
  facts_ = analyseForward(module_, knownHeads_);
  touch();
}

at::Tensor Model::mainOutput(const c10::IValue& output) const { return outputAt(output, facts_.mainOutput); }

std::vector<at::Tensor> Model::auxiliaryOutputs(const c10::IValue& output) const {
  std::vector<at::Tensor> found;
  for (const Head& head : facts_.heads) {
    const at::Tensor logits = head.isAuxiliary ? findOutput(output, head.place) : at::Tensor();
    if (logits.defined()) found.push_back(logits);
  }
  return found;
}

NamedTensors Model::buffers() const {
  NamedTensors buffers;
  std::unordered_set<c10::TensorImpl*> seen;
  for (const auto& [name, tensor] : parameters_) seen.insert(tensor.unsafeGetTensorImpl());
  for (const auto& entry : module_.named_buffers(/*recurse=*/true)) {
    if (!entry.value.defined() || seen.insert(entry.value.unsafeGetTensorImpl()).second) buffers.emplace_back(entry.name, entry.value);
  }
  return buffers;
}

const std::vector<std::string>& Model::otherNamesOf(const std::string& parameter) const {
  static const std::vector<std::string> kNone;
  const auto found = otherNames_.find(parameter);
  return found == otherNames_.end() ? kNone : found->second;
}

std::vector<std::string> Model::parameterNames() const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : parameters_) {
    names.push_back(name);
    names.insert(names.end(), otherNamesOf(name).begin(), otherNamesOf(name).end());
  }
  return names;
}

int64_t Model::bytes() const {
  int64_t total = 0;
  for (const auto& [name, tensor] : parameters_) total += static_cast<int64_t>(tensor.nbytes());
  for (const auto& [name, tensor] : buffers()) total += static_cast<int64_t>(tensor.nbytes());
  return total;
}

void Model::refuseQuantised() const {
  if (findings_.quantised.empty()) return;
  const std::string& part = findings_.quantised[0];
  throw Failure("NOT_TRAINABLE", "The model is quantised: " + (part.empty() ? "it" : "'" + part + "'") +
                                     " has 8-bit weights, which cannot learn. Export the float32 model, without torch.ao.quantization.");
}

at::Tensor Model::tensorNamed(const std::string& wanted) const {
  for (const auto& entry : module_.named_parameters(true)) {
    if (entry.name == wanted) return entry.value;
  }
  for (const auto& entry : module_.named_buffers(true)) {
    if (entry.name == wanted) return entry.value;
  }
  throw Failure("INVALID_VALUE", "The model has no parameter or buffer named '" + wanted + "'.");
}

namespace {

// The value as the tensor keeps it.
at::Tensor fittedTo(const at::Tensor& target, const std::string& name, const at::Tensor& value) {
  if (!target.is_floating_point()) throw Failure("INVALID_VALUE", "setValues: '" + name + "' holds integers. Only floating-point values can be set.");
  if (!value.is_floating_point()) throw Failure("INVALID_TYPE", "setValues: the value of '" + name + "' must be float32 or float64.");
  if (value.sizes() != target.sizes()) {
    throw Failure("SHAPE_MISMATCH", "setValues: '" + name + "' has shape " + c10::str(target.sizes()) + "; " + c10::str(value.sizes()) + " came.");
  }
  if (at::has_internal_overlap(target) == at::MemOverlap::Yes) {
    throw Failure("INVALID_VALUE", "setValues: elements of '" + name + "' share memory, so they cannot be set apart.");
  }
  const at::Tensor fitted = value.to(target.options());
  if (!fitted.isfinite().all().item<bool>()) throw Failure("INVALID_VALUE", "setValues: the value of '" + name + "' is not finite throughout.");
  return fitted;
}

}  // namespace

void Model::setValues(const NamedTensors& values) {
  torch::NoGradGuard guard;
  std::unordered_map<std::string, at::Tensor> known;
  for (const auto& entry : module_.named_buffers(true)) known.emplace(entry.name, entry.value);
  for (const auto& entry : module_.named_parameters(true)) known.emplace(entry.name, entry.value);
  std::vector<std::pair<at::Tensor, at::Tensor>> copies;
  std::unordered_set<c10::TensorImpl*> seen;
  bool isSeenByPlan = false;
  for (const auto& [name, value] : values) {
    const auto found = known.find(name);
    if (found == known.end()) throw Failure("INVALID_VALUE", "The model has no parameter or buffer named '" + name + "'.");
    if (!seen.insert(found->second.unsafeGetTensorImpl()).second) {
      throw Failure("INVALID_VALUE", "setValues: '" + name + "' is another name of a tensor that is set already.");
    }
    copies.emplace_back(found->second, fittedTo(found->second, name, value));
    // What learns is read anew in every step, as a standardiser is; the rest may be a constant of a compiled plan.
    isSeenByPlan = isSeenByPlan || !(isTrainable(name) || isOfStandardiser(module_, name));
  }
  for (auto& [target, value] : copies) target.copy_(value);
  if (!isSeenByPlan) return;
  touch();
  // BatchNorm that was folded may be in use again.
  if (findings_.foldedBatchNorm) inspectBatchNorm();
  forgetMode();
}

c10::IValue Model::infer(const std::vector<at::Tensor>& inputs) {
  torch::NoGradGuard guard;
  setTraining(false);
  return run(inputs);
}

void Model::checkInputs(size_t count) const {
  const auto& schema = module_.get_method("forward").function().getSchema();
  size_t required = 0;
  for (const auto& argument : schema.arguments()) required += argument.default_value() ? 0 : 1;
  // The schema counts self.
  if (count + 1 < required || count + 1 > schema.arguments().size()) {
    throw Failure("SHAPE_MISMATCH", "The model's forward takes " + std::to_string(required - 1) + " input(s), but " +
                                        std::to_string(count) + " came.");
  }
}

c10::IValue Model::run(const std::vector<at::Tensor>& inputs) {
  checkInputs(inputs.size());
  std::vector<c10::IValue> arguments;
  for (const at::Tensor& input : inputs) arguments.emplace_back(input.to(device_));
  try {
    return forward(std::move(arguments));
  } catch (const c10::OutOfMemoryError&) {
    throw;
  } catch (const std::exception& error) {
    refuseForward(inputs, error, this);
  }
}

c10::IValue Model::forward(std::vector<c10::IValue> arguments) {
  // Without gradients nothing can go wrong.
  if (at::GradMode::is_enabled() && !knowsRowMajor_) {
    auto graph = inlinedForward(module_);
    if (keepRowMajor(*graph, module_) > 0) rowMajor_.emplace(graph, "forward");
    knowsRowMajor_ = true;
  }
  if (!rowMajor_ || !at::GradMode::is_enabled()) return module_.forward(std::move(arguments));
  arguments.insert(arguments.begin(), module_._ivalue());
  const auto& schema = module_.get_method("forward").function().getSchema().arguments();
  while (arguments.size() < schema.size()) arguments.push_back(schema[arguments.size()].default_value().value());
  return interpret(*rowMajor_, std::move(arguments)).at(0);
}

void Model::setTrainable(const std::vector<std::string>& names, bool trainBatchNorm) {
  std::unordered_map<std::string, at::Tensor> known(parameters_.begin(), parameters_.end());
  for (const std::string& name : names) {
    auto found = known.find(name);
    if (found == known.end()) throw Failure("INVALID_VALUE", "The model has no parameter named '" + name + "'.");
    if (!found->second.is_floating_point()) {
      throw Failure("INVALID_VALUE", "The parameter '" + name + "' is not floating-point and cannot learn.");
    }
  }
  refuseHalfTied({names.begin(), names.end()});
  trainable_.clear();
  trainable_.insert(names.begin(), names.end());
  trainBatchNorm_ = trainBatchNorm;
  forgetMode();
  touch();
  for (auto& [name, tensor] : parameters_) {
    const bool learn = isTrainable(name);
    if (!tensor.is_floating_point()) continue;
    tensor.set_requires_grad(learn);
    if (!learn) tensor.mutable_grad() = at::Tensor();
  }
}

void Model::refuseHalfTied(const std::unordered_set<std::string>& learning) const {
  for (const auto& [one, other] : overlaps_) {
    if (learning.count(one) == learning.count(other)) continue;
    const std::string& learns = learning.count(one) ? one : other;
    const std::string& frozen = learning.count(one) ? other : one;
    throw Failure("INVALID_VALUE", "The parameters '" + learns + "' and '" + frozen + "' share memory, so '" + frozen +
                                       "' cannot stay as it is while '" + learns + "' learns. Freeze both, or let both learn.");
  }
}

bool Model::learns(const std::string& path) const {
  const std::string prefix = path.empty() ? "" : path + ".";
  const auto isInside = [&](const std::string& name) { return name.compare(0, prefix.size(), prefix) == 0; };
  return std::any_of(trainable_.begin(), trainable_.end(), [&](const std::string& name) {
    const auto& others = otherNamesOf(name);
    return isInside(name) || std::any_of(others.begin(), others.end(), isInside);
  });
}

// The next layer with parameters in forward order, or the one before; where there is none, the other.
bool Model::neighbourLearns(const std::string& path, bool next) const {
  const auto& order = facts_.sequence;
  const std::string prefix = path.empty() ? "" : path + ".";
  const std::vector<std::string> names = parameterNames();
  auto hasParameters = [&](const std::string& module) {
    return std::any_of(names.begin(), names.end(), [&](const std::string& name) { return name.compare(0, module.size() + 1, module + ".") == 0; });
  };
  auto inside = [&](const std::string& module) { return module == path || module.compare(0, prefix.size(), prefix) == 0; };
  const auto last = std::find_if(order.rbegin(), order.rend(), inside);
  if (last == order.rend()) return learns("");
  const auto after = std::find_if(last.base(), order.end(), hasParameters);
  const auto before = std::find_if(last + 1, order.rend(), hasParameters);
  if (after == order.end() && before == order.rend()) return false;
  const bool useNext = before == order.rend() || (next && after != order.end());
  return learns(useNext ? *after : *before);
}

void Model::forgetMode() {
  training_.reset();
  flags_.reset();
}

std::vector<Model::Flag> Model::readFlags() const {
  std::unordered_set<std::string> owners{""};
  for (const std::string& name : parameterNames()) {
    for (auto dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1)) owners.insert(name.substr(0, dot));
  }
  std::vector<Flag> flags;
  for (const auto& entry : module_.named_modules()) {
    if (!entry.value.hasattr("training")) continue;
    // Without parameters of its own, BatchNorm goes with the layer that it measures, dropout with the one that it feeds.
    const bool norm = isBatchNorm(entry.value);
    bool on = owners.count(entry.name) ? learns(entry.name) : neighbourLearns(entry.name, !norm);
    if (norm) on = !findings_.foldedBatchNorm && (trainBatchNorm_ || on);
    flags.push_back({entry.value, on, norm});
  }
  return flags;
}

void Model::setTraining(bool training) {
  if (training_ == training) return;
  if (!flags_) flags_ = readFlags();
  // Flags that are off in both modes were set when the mode was first found.
  for (Flag& flag : *flags_) {
    if (flag.on || !training_) flag.module.setattr("training", training && flag.on);
  }
  training_ = training;
}

void Model::findWritten() {
  written_.clear();
  for (const std::string& path : facts_.written) {
    const jit::Module owner = submodule(module_, parentOf(path));
    // A scripted BatchNorm writes where its flag is on, and copyStatistics() looks for that.
    if (facts_.traced || !isBatchNorm(owner)) written_.emplace_back(owner, path.substr(path.rfind('.') + 1));
  }
}

std::vector<Statistic> Model::copyStatistics() const {
  std::vector<Statistic> statistics;
  const auto copy = [&](const jit::Module& owner, const std::string& name) {
    const c10::IValue value = owner.attr(name);
    statistics.push_back({owner, name, value.isTensor() ? c10::IValue(value.toTensor().detach().clone()) : value.deepcopy()});
  };
  if (flags_ && training_ == true) {
    for (const Flag& flag : *flags_) {
      if (!flag.norm || !flag.on) continue;
      for (const auto& buffer : flag.module.named_buffers(/*recurse=*/false)) copy(flag.module, buffer.name);
    }
  }
  for (const auto& [owner, name] : written_) copy(owner, name);
  return statistics;
}

void Model::restoreStatistics(const std::vector<Statistic>& statistics) {
  torch::NoGradGuard guard;
  for (const Statistic& statistic : statistics) {
    if (statistic.value.isTensor()) {
      statistic.owner.attr(statistic.name).toTensor().copy_(statistic.value.toTensor());
    } else {
      jit::Module owner = statistic.owner;
      owner.setattr(statistic.name, statistic.value);
    }
  }
}

void Model::reinitialise(uint64_t seed) {
  torch::NoGradGuard guard;
  initialiseLayers(module_, seed);
  findings_.foldedBatchNorm = false;
  forgetMode();
  touch();
}

jit::Module Model::copy() {
  setTraining(false);
  std::stringstream stream(std::ios::in | std::ios::out | std::ios::binary);
  module_.save(stream);
  return jit::load(stream, device_);
}

void Model::adopt(jit::Module module) {
  module_ = std::move(module);
  forgetMode();
  refresh();
}

// Written in eval mode with every parameter requiring a gradient, so that whoever opens the file finds it unsurprising.
void Model::save(const std::string& path, const ExtraFiles& extra) {
  setTraining(false);
  const auto requireGrad = [this](bool all) {
    for (auto& [name, tensor] : parameters_) {
      if (tensor.is_floating_point()) tensor.set_requires_grad(all || isTrainable(name));
    }
  };
  requireGrad(true);
  try {
    write(module_, path, extra);
  } catch (...) {
    requireGrad(false);
    throw;
  }
  requireGrad(false);
}

}  // namespace torchgraft

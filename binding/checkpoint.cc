// The parts of Trainer that keep and restore whole states: best weights in memory, checkpoints in files.
#include <torch/csrc/jit/serialization/pickle.h>

#include "archive/model_file.h"
#include "failure.h"
#include "trainer.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;

constexpr const char* kOptimizerFile = "torchgraft.optimizer";
constexpr const char* kBestFile = "torchgraft.best";
constexpr const char* kGroupsFile = "torchgraft.groups";
constexpr const char* kSessionFile = "torchgraft.session";

using TensorDict = c10::Dict<std::string, at::Tensor>;

NamedTensors everyTensor(const Model& model) {
  NamedTensors all = model.parameters();
  for (auto& buffer : model.buffers()) all.push_back(std::move(buffer));
  return all;
}

std::string pickle(const c10::IValue& value) {
  const std::vector<char> bytes = jit::pickle_save(value);
  return {bytes.begin(), bytes.end()};
}

c10::IValue unpickle(const std::string& bytes) {
  archive::checkPickleFile(archive::ByteSource::of(std::make_shared<const std::string>(bytes)));
  return jit::pickle_load({bytes.begin(), bytes.end()});
}

TensorDict toDict(const NamedTensors& tensors) {
  TensorDict dict;
  for (const auto& [name, tensor] : tensors) dict.insert(name, tensor.detach());
  return dict;
}

[[noreturn]] void refuse(const std::string& path, const std::string& why, const std::string& detail = {}) {
  throw Failure("CHECKPOINT_INVALID", path + " cannot be resumed from: " + why, detail);
}

// The checkpoint's tensors in the model's order, checked name by name.
NamedTensors matched(const std::string& path, const NamedTensors& wanted, const NamedTensors& found) {
  std::unordered_map<std::string, at::Tensor> byName(found.begin(), found.end());
  NamedTensors result;
  for (const auto& [name, tensor] : wanted) {
    auto entry = byName.find(name);
    if (entry == byName.end()) refuse(path, "it has no '" + name + "'. It belongs to another model.");
    if (entry->second.sizes() != tensor.sizes() || entry->second.scalar_type() != tensor.scalar_type()) {
      refuse(path, "'" + name + "' is " + c10::str(entry->second.sizes()) + " there and " + c10::str(tensor.sizes()) +
                       " here. It belongs to another model or number of classes.");
    }
    result.emplace_back(name, entry->second);
  }
  return result;
}

void copyAll(const NamedTensors& from, const NamedTensors& to) {
  at::NoGradGuard guard;
  for (size_t i = 0; i < to.size(); ++i) to[i].second.copy_(from[i].second);
}

NamedTensors fromDict(const c10::IValue& value) {
  NamedTensors tensors;
  for (const auto& entry : value.toGenericDict()) tensors.emplace_back(entry.key().toStringRef(), entry.value().toTensor());
  return tensors;
}

}  // namespace

void Trainer::keepBest() {
  at::NoGradGuard guard;
  best_.clear();
  for (const auto& [name, tensor] : everyTensor(model_)) best_.emplace_back(name, tensor.detach().clone());
}

void Trainer::restoreBest() {
  if (best_.empty()) throw Failure("NOT_TRAINABLE", "restoreBest: no weights were kept yet. Call keepBest() first.");
  copyAll(best_, everyTensor(model_));
  model_.touch();
}

void Trainer::saveCheckpoint(const std::string& path, ExtraFiles extra) {
  at::NoGradGuard guard;
  extra[kOptimizerFile] = pickle(optimizer_.state());
  extra[kBestFile] = pickle(toDict(best_));
  if (options_.groupLoss.groups > 0) extra[kGroupsFile] = pickle(groupLoss_.state());
  c10::Dict<std::string, int64_t> session;
  session.insert("steps", steps_);
  extra[kSessionFile] = pickle(session);
  model_.save(path, extra);
}

std::string Trainer::loadCheckpoint(const std::string& path) {
  at::NoGradGuard guard;
  ExtraFiles extra{{kExtraFile, ""}, {kOptimizerFile, ""}, {kBestFile, ""}, {kGroupsFile, ""}, {kSessionFile, ""}};
  try {
    const auto bytes = archive::ByteSource::open(path);
    archive::checkCheckpointFile(bytes);
    const jit::Module saved = jit::load(bytes, at::kCPU, extra);
    NamedTensors found;
    for (const auto& entry : saved.named_parameters(true)) found.emplace_back(entry.name, entry.value.detach());
    for (const auto& entry : saved.named_buffers(true)) found.emplace_back(entry.name, entry.value);
    const NamedTensors here = everyTensor(model_);
    const NamedTensors weights = matched(path, here, found);
    NamedTensors best = fromDict(unpickle(extra[kBestFile]));
    if (!best.empty()) best = matched(path, here, best);
    at::Tensor groups = groupLoss_.state();
    if (options_.groupLoss.groups > 0) {
      if (extra[kGroupsFile].empty()) refuse(path, "it was written without GroupDRO.");
      groups = unpickle(extra[kGroupsFile]).toTensor();
      if (!groupLoss_.fits(groups)) refuse(path, "it has other groups for GroupDRO.");
    }
    const int64_t steps = unpickle(extra[kSessionFile]).toGenericDict().at("steps").toInt();
    optimizer_.loadState(unpickle(extra[kOptimizerFile]));
    copyAll(weights, here);
    model_.touch();
    best_.clear();
    for (const auto& [name, tensor] : best) best_.emplace_back(name, tensor.to(model_.device()).clone());
    steps_ = steps;
    groupLoss_.restore(groups);
    accumulated_ = 0;
    optimizer_.zeroGrad();
  } catch (const Failure& failure) {
    if (failure.code != "FILE_NOT_FOUND") throw;
    throw Failure("CHECKPOINT_INVALID", failure.what());
  } catch (const archive::Unfit& unfit) {
    throw Failure("CHECKPOINT_INVALID", path + " " + unfit.what());
  } catch (const archive::WrongKind& wrong) {
    throw Failure("CHECKPOINT_INVALID", path + " is not a checkpoint (" + wrong.finding.kind + ").", {}, wrong.facts());
  } catch (const c10::OutOfMemoryError&) {
    throw;
  } catch (const std::exception& error) {
    refuse(path, "it is damaged or not a checkpoint.", error.what());
  }
  return extra[kExtraFile];
}

}  // namespace torchgraft

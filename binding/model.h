// A TorchScript module with what torchgraft knows of it. No Node-API here: everything runs on the model's thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "convert.h"
#include "archive/byte_source.h"
#include "graph.h"
#include "torch.h"

namespace torchgraft {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;
using ExtraFiles = std::unordered_map<std::string, std::string>;

// The one extra file that carries classes, preprocessing, provenance and metrics.
inline constexpr const char* kExtraFile = "torchgraft.json";

struct ModelFindings {
  bool savedInTrainMode = false;
  // Traced with dropout or BatchNorm in train mode; they follow the mode now.
  bool tracedInTrain = false;
  // An operation by which the same input gives other outputs in eval mode too; '' where there is none.
  std::string changingInEval;
  // What was made float32, or moved here, on loading.
  Conversion conversion;
  // What holds 8-bit weights.
  std::vector<std::string> quantised;
  std::vector<std::string> savedWithoutGrad;
  std::vector<std::string> batchNorms;
  bool foldedBatchNorm = false;
};

// By owner and name: a module may assign its buffer anew instead of writing into it. A tensor, or a number.
struct Statistic {
  torch::jit::Module owner;
  std::string name;
  c10::IValue value;
};

class Model {
 public:
  // Never under InferenceMode: parameters must stay trainable. `name` is what errors call the file; with `safe` it is opened
  // only where that runs no code of its own.
  static Model load(std::shared_ptr<archive::ByteSource> bytes, const std::string& name, const at::Device& device, bool safe);

  torch::jit::Module& module() { return module_; }
  const at::Device& device() const { return device_; }
  const ModelFindings& findings() const { return findings_; }
  const ForwardFacts& facts() const { return facts_; }
  // The main output of what forward returned: logits, where it has a head. Throws Failure("MODEL_FAILED") where there is no
  // floating-point tensor.
  at::Tensor mainOutput(const c10::IValue& output) const;
  // Logits of auxiliary heads in it: none in eval mode, as a rule.
  std::vector<at::Tensor> auxiliaryOutputs(const c10::IValue& output) const;
  // These layers are the heads, whatever else forward's graph suggests; none: they are found in it. The first takes effect with
  // the next refresh().
  void setKnownHeads(KnownHeads heads) { knownHeads_ = std::move(heads); }
  void nameHeads(KnownHeads heads);
  const KnownHeads& knownHeads() const { return knownHeads_; }
  const ExtraFiles& extra() const { return extra_; }
  // Each parameter once, under its first name.
  const NamedTensors& parameters() const { return parameters_; }
  // Likewise, but for those that are parameters too.
  NamedTensors buffers() const;
  // Of a tied parameter: its names beside the first. Empty for others.
  const std::vector<std::string>& otherNamesOf(const std::string& parameter) const;
  // Names of parameters that are different tensors over the same memory.
  const std::vector<std::pair<std::string, std::string>>& overlappingParameters() const { return overlaps_; }
  // Every name of every parameter.
  std::vector<std::string> parameterNames() const;
  int64_t bytes() const;
  // Throws Failure("NOT_TRAINABLE") for a model with 8-bit weights.
  void refuseQuantised() const;
  // Grows whenever the module, its values or what learns in it may have changed other than by training steps.
  uint64_t revision() const { return revision_; }
  void touch() { ++revision_; }

  // A parameter or buffer by name. Throws Failure("INVALID_VALUE").
  at::Tensor tensorNamed(const std::string& name) const;

  // Sets parameters and buffers, all or none. Throws Failure("INVALID_VALUE") for an unknown name, a tensor named twice,
  // one of integers, and a value that is not finite; SHAPE_MISMATCH; INVALID_TYPE for values that are no floats.
  void setValues(const NamedTensors& values);

  // Eval mode, no gradients.
  c10::IValue infer(const std::vector<at::Tensor>& inputs);
  // The current mode, with gradients if enabled. Checks the number of inputs; its refusal becomes MODEL_FAILED.
  c10::IValue run(const std::vector<at::Tensor>& inputs);
  // Throws Failure("SHAPE_MISMATCH") when forward takes another number of inputs.
  void checkInputs(size_t count) const;

  // Exactly these parameters learn; the others have no gradient from now on. Throws Failure("INVALID_VALUE") where one that
  // learns and one that does not share memory, for then nothing would keep the second as it is.
  void setTrainable(const std::vector<std::string>& names, bool trainBatchNorm);
  bool isTrainable(const std::string& name) const { return trainable_.count(name) > 0; }
  std::vector<std::string> trainable() const { return {trainable_.begin(), trainable_.end()}; }
  bool trainsBatchNorm() const { return trainBatchNorm_; }
  // Train mode for what learns, eval for what is frozen; or eval for all.
  void setTraining(bool training);
  // A copy of what a training forward may change (BatchNorm statistics, and whatever else it writes to), and putting it
  // back.
  std::vector<Statistic> copyStatistics() const;
  void restoreStatistics(const std::vector<Statistic>& statistics);

  // PyTorch's default initialisation of every Linear, convolution, BatchNorm, LayerNorm and Embedding.
  void reinitialise(uint64_t seed);

  // The structure changed: reads names, layers and heads again. All parameters become trainable.
  void refresh();
  // Goes on with another module, for example a copy for surgery.
  void adopt(torch::jit::Module module);
  // The same module with tensors and executors of its own.
  torch::jit::Module copy();

  void save(const std::string& path, const ExtraFiles& extra);

 private:
  Model(torch::jit::Module module, at::Device device, ExtraFiles extra);
  void inspectSavedState();
  void inspectBatchNorm();
  void findWritten();
  bool learns(const std::string& path) const;
  void refuseHalfTied(const std::unordered_set<std::string>& learning) const;
  bool neighbourLearns(const std::string& path, bool next) const;
  // The mode of every module is to be found anew.
  void forgetMode();
  c10::IValue forward(std::vector<c10::IValue> arguments);

  torch::jit::Module module_;
  at::Device device_;
  ExtraFiles extra_;
  ModelFindings findings_;
  ForwardFacts facts_;
  KnownHeads knownHeads_;
  NamedTensors parameters_;
  std::unordered_map<std::string, std::vector<std::string>> otherNames_;
  std::vector<std::pair<std::string, std::string>> overlaps_;
  // What forward writes to beside BatchNorm statistics: owner and name.
  std::vector<std::pair<torch::jit::Module, std::string>> written_;
  std::unordered_set<std::string> trainable_;
  bool trainBatchNorm_ = false;
  // A module with a `training` flag, and whether it is on while the model learns.
  struct Flag {
    torch::jit::Module module;
    bool on = false;
    bool norm = false;
  };
  std::vector<Flag> readFlags() const;
  // Read once after each change: walking all modules takes longer than a step of a head.
  std::optional<std::vector<Flag>> flags_;
  std::optional<bool> training_;
  // Forward with keepRowMajor(), where it makes a difference; made when it is first needed.
  std::optional<torch::jit::Code> rowMajor_;
  bool knowsRowMajor_ = false;
  uint64_t revision_ = 0;
};

}  // namespace torchgraft

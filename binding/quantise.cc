#include "quantise.h"

#include <ATen/cpu/Utils.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/custom_class.h>

#include <algorithm>
#include <mutex>
#include <unordered_map>
#include <unordered_set>

#include "calibrate.h"
#include "convolution.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;
namespace aten = c10::aten;

// What is computed in 8 bits: nodes from the first to the last, the values it takes in 8 bits, and the one it gives.
struct Operation {
  std::vector<jit::Node*> nodes;
  std::vector<jit::Value*> inputs;
  std::optional<Convolution> convolution;

  jit::Node* first() const { return nodes.front(); }
  jit::Value* output() const { return nodes.back()->output(); }
  // Its output has the input's range.
  bool keepsRange() const { return first()->kind() == aten::max_pool2d; }
};

// Clipping at zero, and above, is what 8-bit numbers do by themselves.
bool isClipping(const jit::Node* node) {
  const auto activation = readActivation(node);
  return activation && (activation->name == "relu" || (activation->name == "hardtanh" && activation->scalars[0] == 0));
}

// A sum that is written into a term which is read again must be in that memory.
bool isSafeSum(const jit::Node* node) {
  return isSum(node) && (node->kind() != aten::add_ || node->input(0)->uses().size() == 1);
}

class Finder {
 public:
  explicit Finder(jit::Graph& graph) {
    for (jit::Node* node : graph.nodes()) {
      if (taken_.count(node)) continue;
      if (auto operation = read(node)) add(std::move(*operation));
    }
  }

  std::vector<Operation> operations;

 private:
  bool isMade(jit::Value* value) const { return made_.count(value) > 0; }

  std::optional<Operation> read(jit::Node* node) const {
    if (auto convolution = readConvolution(node)) return Operation{{node}, {node->input(0)}, std::move(convolution)};
    if (isSafeSum(node) && (isMade(node->input(0)) || isMade(node->input(1)))) return Operation{{node}, {node->input(0), node->input(1)}, {}};
    if (node->kind() == aten::max_pool2d && isMade(node->input(0))) return Operation{{node}, {node->input(0)}, {}};
    if (node->kind() == aten::cat && node->input(0)->node()->kind() == c10::prim::ListConstruct) {
      const auto parts = node->input(0)->node()->inputs();
      if (std::all_of(parts.begin(), parts.end(), [this](jit::Value* part) { return isMade(part); })) return Operation{{node}, parts.vec(), {}};
    }
    return std::nullopt;
  }

  void add(Operation operation) {
    jit::Node* next = follower(operation.first());
    if (next && isClipping(next) && !operation.keepsRange()) {
      operation.nodes.push_back(next);
      taken_.insert(next);
    }
    made_.insert(operation.output());
    operations.push_back(std::move(operation));
  }

  std::unordered_set<const jit::Value*> made_;
  std::unordered_set<const jit::Node*> taken_;
};

class Rewriter {
 public:
  Rewriter(jit::Graph& graph, const std::vector<jit::Value*>& measured, const std::vector<Range>& ranges) : graph_(graph) {
    for (size_t i = 0; i < measured.size(); ++i) ranges_[measured[i]] = ranges[i];
  }

  void run(const std::vector<Operation>& operations) {
    for (const Operation& operation : operations) rewrite(operation);
    for (const Operation& operation : operations) {
      jit::Node* made = eightBits_.at(operation.output())->node();
      jit::WithInsertPoint point(made->next());
      operation.output()->replaceAllUsesWith(insert(c10::Symbol::aten("dequantize"), {made->output()}));
    }
    // From the last: what was replaced has no uses once its user is gone.
    for (auto operation = operations.rbegin(); operation != operations.rend(); ++operation) {
      for (auto node = operation->nodes.rbegin(); node != operation->nodes.rend(); ++node) (*node)->destroy();
    }
  }

 private:
  jit::Value* constant(const c10::IValue& value) { return graph_.insertConstant(value); }

  jit::Value* insert(c10::Symbol kind, const std::vector<jit::Value*>& inputs) {
    jit::Value* output = graph_.insertNode(graph_.create(kind, inputs))->output();
    output->setType(c10::TensorType::get());
    return output;
  }

  static c10::Symbol quantised(const char* name) { return c10::Symbol::fromQualString(std::string("quantized::") + name); }

  jit::Value* inEightBits(jit::Value* value) {
    if (const auto found = eightBits_.find(value); found != eightBits_.end()) return found->second;
    const Range& range = ranges_.at(value);
    return eightBits_[value] = insert(aten::quantize_per_tensor,
                                      {value, constant(range.scale), constant(range.zeroPoint), constant(static_cast<int64_t>(at::kQUInt8))});
  }

  void rewrite(const Operation& operation) {
    jit::WithInsertPoint point(operation.nodes.back());
    std::vector<jit::Value*> inputs;
    for (jit::Value* input : operation.inputs) inputs.push_back(inEightBits(input));
    eightBits_[operation.output()] = insertOperation(operation, inputs);
  }

  jit::Value* insertOperation(const Operation& operation, std::vector<jit::Value*> inputs) {
    jit::Node* first = operation.first();
    if (operation.keepsRange()) {
      const auto rest = first->inputs().slice(1);
      inputs.insert(inputs.end(), rest.begin(), rest.end());
      return insert(aten::max_pool2d, inputs);
    }
    const Range& range = ranges_.at(operation.output());
    jit::Value* scale = constant(range.scale);
    jit::Value* zeroPoint = constant(range.zeroPoint);
    if (operation.convolution) return insert(quantised("conv2d"), {inputs[0], addWeight(), scale, zeroPoint});
    if (first->kind() != aten::cat) return insert(quantised("add"), {inputs[0], inputs[1], scale, zeroPoint});
    jit::Value* list = graph_.insertNode(graph_.createList(c10::TensorType::get(), inputs))->output();
    return insert(quantised("cat"), {list, first->input(1), scale, zeroPoint});
  }

  jit::Value* addWeight() {
    static const auto type = torch::getCustomClass("__torch__.torch.classes.quantized.Conv2dPackedParamsBase");
    jit::Value* input = graph_.addInput();
    input->setType(type);
    return input;
  }

  jit::Graph& graph_;
  std::unordered_map<const jit::Value*, Range> ranges_;
  std::unordered_map<const jit::Value*, jit::Value*> eightBits_;
};

// Everything that is measured: what 8-bit operations give, and what they take that is not given by one of them.
std::vector<jit::Value*> valuesOf(const std::vector<Operation>& operations) {
  std::vector<jit::Value*> values;
  std::unordered_set<const jit::Value*> known;
  const auto take = [&](jit::Value* value) {
    if (known.insert(value).second) values.push_back(value);
  };
  for (const Operation& operation : operations) {
    for (jit::Value* input : operation.inputs) take(input);
    if (operation.keepsRange()) known.insert(operation.output());
    else take(operation.output());
  }
  return values;
}

// Largest weight as an integer. Without VNNI processors add two products of 8-bit numbers in 16 bits: with 7-bit weights
// that cannot overflow.
double largestWeight() { return at::cpu::is_avx512_vnni_supported() ? 127 : 63; }

// libtorch warns once that a later version will have no 8-bit tensors. Its range of versions is pinned here, and nobody
// who reads standard error could do anything about it.
class Silence : public c10::WarningHandler {
 public:
  void process(const c10::Warning&) override {}
};

at::Tensor quantiseWeight(const at::Tensor& weight) {
  static Silence silence;
  const c10::WarningUtils::WarningHandlerGuard guard(&silence);
  const at::Tensor flat = weight.flatten(1).abs();
  const at::Tensor scales = (std::get<0>(flat.max(1)) / largestWeight()).clamp_min(1e-12).to(at::kDouble);
  return at::quantize_per_channel(weight.contiguous(), scales, at::zeros(scales.sizes(), at::kLong), 0, at::kQInt8);
}

// The engine is a setting of the whole process, which packing reads.
class Engine {
 public:
  explicit Engine(at::QEngine engine) : lock_(mutex()), before_(at::globalContext().qEngine()) { at::globalContext().setQEngine(engine); }
  ~Engine() { at::globalContext().setQEngine(before_); }
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

 private:
  static std::mutex& mutex() {
    static std::mutex only;
    return only;
  }
  std::lock_guard<std::mutex> lock_;
  at::QEngine before_;
};

}  // namespace

QuantisedConvolutions::QuantisedConvolutions(const std::shared_ptr<jit::Graph>& graph, const std::vector<at::Tensor>& samples) {
  torch::NoGradGuard guard;
  const auto operations = Finder(*graph).operations;
  const auto values = valuesOf(operations);
  if (operations.empty()) return;
  Rewriter(*graph, values, calibrate(graph, values, samples)).run(operations);
  for (const Operation& operation : operations) {
    if (!operation.convolution) continue;
    const Convolution& c = *operation.convolution;
    weights_.push_back({quantiseWeight(c.weight), c.bias, c.stride, c.padding, c.dilation, c.groups});
  }
  jit::EliminateDeadCode(graph);
}

std::vector<c10::IValue> QuantisedConvolutions::pack(at::QEngine engine) const {
  static const auto prepack = c10::Dispatcher::singleton().findSchemaOrThrow("quantized::conv2d_prepack", "");
  const Engine chosen(engine);
  std::vector<c10::IValue> packed;
  for (const Weight& weight : weights_) {
    jit::Stack stack{weight.value, weight.bias, weight.stride, weight.padding, weight.dilation, weight.groups};
    prepack.callBoxed(stack);
    packed.push_back(stack.at(0));
  }
  return packed;
}

std::vector<at::QEngine> quantisedEngines() {
  std::vector<at::QEngine> engines;
  for (const at::QEngine engine : at::globalContext().supportedQEngines()) {
    if (engine == at::QEngine::X86 || engine == at::QEngine::ONEDNN) engines.push_back(engine);
  }
  return engines;
}

std::string engineName(at::QEngine engine) { return engine == at::QEngine::ONEDNN ? "oneDNN" : "FBGEMM"; }

}  // namespace torchgraft

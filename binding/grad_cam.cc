#include "grad_cam.h"

#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <optional>
#include <string_view>

#include "compile.h"
#include "failure.h"
#include "forward_failure.h"
#include "grafts.h"
#include "graph_paths.h"
#include "native_model.h"
#include "node_facts.h"
#include "plain.h"
#include "pooling.h"
#include "requests.h"
#include "specialise.h"
#include "trainer.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;

c10::Symbol aten(const char* name) { return c10::Symbol::fromQualString(std::string("aten::") + name); }

// Of each feature alone, or of all features of a place: what lies between pooling and the layers of a head.
bool keepsPlaces(const jit::Node* node) {
  static constexpr std::array<std::string_view, 21> kNames{
      "relu", "relu_",     "relu6",      "relu6_",     "hardtanh", "hardtanh_", "hardswish",  "hardswish_", "silu", "silu_", "gelu",
      "elu",  "leaky_relu", "leaky_relu_", "sigmoid", "tanh",     "batch_norm", "layer_norm", "permute", "add",  "add_"};
  const std::string_view name = node->kind().toQualString();
  return name.substr(0, 6) == "aten::" && std::find(kNames.begin(), kNames.end(), name.substr(6)) != kNames.end();
}

// The head's way back to the map.
class MapFinder {
 public:
  MapFinder(jit::Graph& graph, const jit::Module& module) : graph_(graph), module_(module), paths_(graph) {}

  PooledMap find(const std::vector<Head>& heads) const {
    std::optional<PooledMap> found;
    for (const Head& head : heads) {
      if (head.isAuxiliary) continue;
      const auto map = mapOf(head);
      if (!map || map->user->owningBlock() != graph_.block()) {
        throw Failure("NO_HEAD", "No map of features is pooled before '" + head.module + "' (adaptive_avg_pool2d, avg_pool2d, or mean over height and width), so there are no places to tell of.");
      }
      if (found && found->map != map->map) throw Failure("NO_HEAD", "Several layers feed the model's output, each from a map of its own, so that there is no one map to tell of.");
      found = map;
    }
    if (!found) throw Failure("NO_HEAD", "No Linear or Conv2d layer feeds the model's output, so there is no map of features before it.");
    return *found;
  }

 private:
  std::optional<PooledMap> mapOf(const Head& head) const {
    const auto uses = usesOf(graph_, paths_, head.module);
    if (uses.empty()) return std::nullopt;
    jit::Value* input = uses[0].node->input(uses[0].input);
    if (head.convolution) {
      const auto pooled = pooledBefore(input);
      return pooled ? pooled : PooledMap{input, uses[0].node};
    }
    for (const jit::Value* value = input; value; value = before(value->node())) {
      if (const auto pooled = pooledBefore(value)) return pooled;
    }
    return std::nullopt;
  }

  // Through the layers of a head, also convolutions of what is pooled already, as in MobileNetV3.
  const jit::Value* before(const jit::Node* node) const {
    if (const jit::Value* same = rearrangedBy(node)) return same;
    if (keepsPlaces(node)) return node->input(0);
    const auto operands = layerOperands(node);
    if (!operands) return nullptr;
    if (const std::string* path = weightPath(paths_, node->input(operands->weight))) {
      const at::Tensor weight = attributeAt(module_, *path).toTensor();
      if (weight.dim() > 2 && weight[0][0].numel() != 1) return nullptr;
    }
    return node->input(operands->input);
  }

  jit::Graph& graph_;
  const jit::Module& module_;
  Paths paths_;
};

// Forward that goes on from a copy of the map, which is its second output and may have a gradient. A copy of the copy goes
// on, since what follows may write into it. Right before its first user: until then the map may be written into itself.
void cutAt(jit::Graph& graph, const PooledMap& found) {
  jit::WithInsertPoint point(found.user);
  jit::Value* leaf = graph.insert(aten("clone"), {graph.insert(aten("detach"), {found.map})});
  leaf = graph.insert(aten("requires_grad_"), {leaf, true});
  jit::Value* rest = graph.insert(aten("clone"), {leaf});
  found.map->replaceAllUsesAfterNodeWith(rest->node(), rest);
  graph.registerOutput(leaf);
}

// What forward changes in eval mode, too, is put back: what it writes or assigns, and the random generator where it draws
// numbers, as a network traced in train mode does.
class SameState {
 public:
  SameState(Model& model, jit::Graph& graph) : model_(model), kept_(model.copyStatistics()) {
    for (const Statistic& statistic : kept_) originals_.push_back(statistic.owner.attr(statistic.name));
    bool draws = false;
    eachNode(graph.block(), [&](const jit::Node* node) { draws = draws || drawsNumbers(node); });
    if (!draws) return;
    lock_ = std::unique_lock<std::mutex>(randomLock());
    generator_ = at::globalContext().defaultGenerator(model.device());
    std::lock_guard<std::mutex> guard(generator_.mutex());
    state_ = generator_.get_state();
  }

  // No destructor does it, for it may throw.
  void restore() {
    // What was assigned may have another shape.
    for (size_t i = 0; i < kept_.size(); ++i) kept_[i].owner.setattr(kept_[i].name, originals_[i]);
    model_.restoreStatistics(kept_);
    if (!state_.defined()) return;
    std::lock_guard<std::mutex> guard(generator_.mutex());
    generator_.set_state(state_);
  }

 private:
  Model& model_;
  std::vector<Statistic> kept_;
  std::vector<c10::IValue> originals_;
  std::unique_lock<std::mutex> lock_;
  at::Generator generator_;
  at::Tensor state_;
};

struct Outputs {
  at::Tensor logits;
  at::Tensor map;
};

Outputs runCut(Model& model, const std::vector<at::Tensor>& inputs) {
  auto graph = settled(*openForward(model.module(), inputs.size()), false);
  cutAt(*graph, MapFinder(*graph, model.module()).find(model.facts().heads));
  // Without parameters nothing before the map has a gradient, so that none of it is kept for one.
  auto held = graph->copy();
  const bool isHeld = holdParameters(held, model.module());
  if (isHeld) graph = held;
  std::vector<c10::IValue> stack;
  if (!isHeld) stack.emplace_back(model.module()._ivalue());
  stack.insert(stack.end(), inputs.begin(), inputs.end());
  SameState state(model, *graph);
  std::vector<c10::IValue> outputs;
  try {
    outputs = interpret(jit::Code(graph, "gradCam"), std::move(stack));
  } catch (const c10::OutOfMemoryError&) {
    state.restore();
    throw;
  } catch (const std::exception& error) {
    state.restore();
    refuseForward(inputs, error, &model);
  }
  state.restore();
  return {model.mainOutput(outputs.at(0)), outputs.at(1).toTensor()};
}

void checkOutputs(const Outputs& outputs) {
  const auto& [logits, map] = outputs;
  if (logits.dim() != 2 || !logits.is_floating_point()) {
    throw Failure("MODEL_FAILED", "gradCam: a map is of one class of outputs [n, classes]; the model gives " + c10::str(logits.sizes()) + ".");
  }
  if (map.dim() != 4 || map.size(0) != logits.size(0)) {
    throw Failure("MODEL_FAILED", "gradCam: what comes before the head is " + c10::str(map.sizes()) + ", no map [n, channels, height, width].");
  }
}

std::vector<int64_t> chosenClasses(const at::Tensor& logits, std::vector<int64_t> classes) {
  if (classes.empty()) {
    const at::Tensor best = logits.argmax(1).cpu().contiguous();
    return {best.const_data_ptr<int64_t>(), best.const_data_ptr<int64_t>() + best.numel()};
  }
  if (static_cast<int64_t>(classes.size()) != logits.size(0)) {
    throw Failure("SHAPE_MISMATCH", "gradCam: " + std::to_string(classes.size()) + " classes came for " + std::to_string(logits.size(0)) + " samples.");
  }
  for (const int64_t index : classes) {
    if (index >= 0 && index < logits.size(1)) continue;
    throw Failure("INVALID_VALUE", "gradCam: a class is " + std::to_string(index) + ", but the model has " + std::to_string(logits.size(1)) + " outputs (0 to " + std::to_string(logits.size(1) - 1) + ").");
  }
  return classes;
}

// Of the sum of the chosen logits, in which each sample has its own.
at::Tensor gradientOf(const Outputs& outputs, const std::vector<int64_t>& classes) {
  const at::Tensor index = at::tensor(classes, at::kLong).to(outputs.logits.device()).unsqueeze(1);
  const at::Tensor chosen = outputs.logits.gather(1, index).sum();
  at::Tensor gradient;
  try {
    if (chosen.requires_grad()) gradient = torch::autograd::grad({chosen}, {outputs.map}, {}, std::nullopt, false, true).at(0);
  } catch (const c10::OutOfMemoryError&) {
    throw;
  } catch (const std::exception& error) {
    throw Failure("MODEL_FAILED", "gradCam: the gradient of the last map of features cannot be computed.", error.what());
  }
  if (!gradient.defined()) throw Failure("MODEL_FAILED", "gradCam: the model's output has no gradient by the last map of features.");
  return gradient;
}

at::Tensor weighted(const at::Tensor& map, const at::Tensor& gradient) {
  at::NoGradGuard guard;
  const at::Tensor alpha = gradient.to(at::kFloat).mean({2, 3}, /*keepdim=*/true);
  const at::Tensor sum = at::relu((alpha * map.detach().to(at::kFloat)).sum(1));
  if (!sum.isfinite().all().item<bool>()) throw Failure("MODEL_FAILED", "gradCam: the map is not finite throughout: the images or the model's values are not.");
  if (sum.numel() == 0) return sum.cpu();
  const at::Tensor largest = sum.amax({1, 2}, /*keepdim=*/true);
  return (sum / largest.masked_fill(largest == 0, 1)).cpu().contiguous();
}

}  // namespace

GradCam gradCam(Model& model, const std::vector<at::Tensor>& inputs, std::vector<int64_t> classes) {
  if (model.parameters().empty()) {
    throw Failure("MODEL_FROZEN", "gradCam: the model has no parameters: torch.jit.freeze made constants of them, so its head cannot be told. Export it again without torch.jit.freeze.");
  }
  model.checkInputs(inputs.size());
  at::AutoGradMode gradients(true);
  const Outputs outputs = runCut(model, inputs);
  checkOutputs(outputs);
  classes = chosenClasses(outputs.logits.detach(), std::move(classes));
  const at::Tensor maps = weighted(outputs.map, gradientOf(outputs, classes));
  return {maps, std::move(classes), outputs.logits.detach().to(at::kCPU, at::kFloat).contiguous()};
}

Napi::Value NativeModel::gradCam(const Napi::CallbackInfo& info) {
  Batch batch = readBatch(info[0], "gradCam", false);
  auto object = readObject(info[0], "gradCam");
  auto preprocess = readPreprocess(object, "gradCam");
  std::vector<int64_t> classes;
  if (!isAbsent(object, "classes")) classes = readRows(object.Get("classes"), "gradCam: classes");
  return run(info, [batch = std::move(batch), preprocess, classes = std::move(classes)](Loaded& loaded) -> Finish {
    refuseServing(loaded, "gradCam");
    if (batch.inputs.empty()) throw Failure("SHAPE_MISMATCH", "gradCam: no inputs came.");
    const GradCam made = torchgraft::gradCam(*loaded.model, preparedInputs(batch, preprocess, loaded.model->device()), classes);
    return [made](Napi::Env env) {
      auto object = Napi::Object::New(env);
      object.Set("maps", writeTensor(env, made.maps));
      object.Set("classes", writeRows(env, made.classes));
      object.Set("logits", writeTensor(env, made.logits));
      return object;
    };
  });
}

}  // namespace torchgraft

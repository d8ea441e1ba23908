#include "head.h"

#include <algorithm>

#include "append_head.h"
#include "failure.h"
#include "initialise.h"
#include "main_output.h"
#include "new_module.h"
#include "pooling.h"
#include "purpose.h"
#include "specialise.h"
#include "squash.h"
#include "standardiser.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;

std::string listed(const std::vector<Head>& heads) {
  std::string text;
  for (const Head& head : heads) text += (text.empty() ? "`" : ", `") + head.module + "`";
  return text;
}

// The layers to replace, main ones first. A named one brings those with it that make the main output together with it, and
// auxiliary ones.
std::vector<Head> headsOf(const Model& model, const jit::Module& module, const std::string& layer) {
  const std::vector<Head>& found = model.facts().heads;
  const bool isFound = std::any_of(found.begin(), found.end(), [&](const Head& head) { return head.module == layer && !head.isAuxiliary; });
  if (layer.empty() && found.empty()) throw Failure("NO_HEAD", model.facts().headProblem);
  if (layer.empty() || isFound) return found;
  if (headAt(module, layer)) return findHeads(module, *openForward(module, usualArguments(module)), {{layer}, std::nullopt}).heads;
  throw Failure("NO_HEAD", "'" + layer + "' is not a Linear or Conv2d layer: it has no weight of 2 or 4 dimensions. `summary()` and `torchgraft inspect` list all layers.");
}

bool isMain(const Head& head) { return !head.isAuxiliary; }

KnownHeads namesOf(const std::vector<Head>& heads) {
  KnownHeads known{{}, std::vector<std::string>{}};
  for (const Head& head : heads) (head.isAuxiliary ? *known.auxiliary : known.main).push_back(head.module);
  return known;
}

void setParameter(jit::Module layer, const char* name, const at::Tensor& value) {
  layer.setattr(name, value.detach().clone().set_requires_grad(true));
}

// Gives an existing layer another number of outputs (and inputs: head.inFeatures), in place, by setting tensors of another
// size.
void resize(Model& model, const Head& head, int64_t outputs, at::Generator& generator, NewHead& made) {
  jit::Module layer = submodule(model.module(), head.module);
  const at::Tensor old = layer.attr("weight").toTensor();
  std::vector<int64_t> shape = old.sizes().vec();
  shape[0] = outputs;
  shape[1] = head.inFeatures;
  at::Tensor weight = at::empty(shape, old.options().requires_grad(false));
  at::Tensor bias = head.hasBias ? at::empty({outputs}, old.options().requires_grad(false)) : at::Tensor();
  initialiseLayer(weight, bias, generator);
  setParameter(layer, "weight", weight);
  if (head.hasBias) setParameter(layer, "bias", bias);
  const auto setCount = [&layer](const char* name, int64_t count) {
    if (layer.type()->hasAttribute(name) && layer.attr(name).isInt()) layer.setattr(name, count);
  };
  setCount("out_features", outputs);
  setCount("out_channels", outputs);
  setCount("in_features", shape[1]);
  setCount("in_channels", shape[1]);
  made.layers.push_back(head.module);
  made.parameters.push_back(head.module + ".weight");
  if (head.hasBias) made.parameters.push_back(head.module + ".bias");
}

jit::Module makeLinear(Model& model, int64_t in, int64_t out, const CosineOptions* cosine, at::Generator& generator) {
  auto options = model.parameters().at(0).second.options().requires_grad(false);
  at::Tensor weight = at::empty({out, in}, options);
  at::Tensor bias = cosine ? at::Tensor() : at::empty({out}, options);
  initialiseLayer(weight, bias, generator);
  if (cosine) return makeCosineLayer(model.module(), weight, *cosine);
  jit::Module linear = makeModule(model.module(), "Linear");
  linear.register_parameter("weight", weight.set_requires_grad(true), false);
  linear.register_parameter("bias", bias.set_requires_grad(true), false);
  linear.define("def forward(self, x):\n    return torch.linear(x, self.weight, self.bias)\n");
  return linear;
}

// relu -> dropout -> Linear, once for each width after the first, and last to the classes.
jit::Module makeMlp(Model& model, const HeadRequest& request, at::Generator& generator) {
  jit::Module mlp = makeModule(model.module(), "MlpHead");
  std::vector<int64_t> widths = request.hidden;
  widths.push_back(request.classes);
  std::string source = "def forward(self, x):\n";
  for (size_t i = 0; i + 1 < widths.size(); ++i) {
    const std::string name = "fc" + std::to_string(i + 1);
    const bool isLast = i + 2 == widths.size();
    mlp.register_module(name, makeLinear(model, widths[i], widths[i + 1], isLast && request.cosine ? &*request.cosine : nullptr, generator));
    source += "    x = torch.relu(x)\n";
    if (request.dropout > 0) source += "    x = torch.dropout(x, " + c10::str(request.dropout) + ", self.training)\n";
    source += "    x = self." + name + ".forward(x)\n";
  }
  mlp.define(source + "    return x\n");
  return mlp;
}

// The old layers become the first hidden layer; the rest is a new submodule behind the main output.
void graftMlp(Model& model, const HeadRequest& request, const std::vector<Head>& heads, at::Generator& generator, NewHead& made) {
  jit::Module& module = model.module();
  auto method = module.get_method("forward");
  auto graph = method.graph();
  const auto [taker, at] = takerOf(*graph, heads[0].place, "A head with hidden layers needs", "Leave `hidden` out.");
  for (const Head& head : heads) resize(model, head, request.hidden.at(0), generator, made);
  const std::string name = freeName(module, "head");
  jit::Module mlp = makeMlp(model, request, generator);
  module.register_module(name, mlp);
  jit::WithInsertPoint point(taker);
  taker->replaceInput(at, insertChildCall(*graph, mlp, name, taker->input(at)));
  model.setKnownHeads({{name + ".fc" + std::to_string(request.hidden.size())}, std::vector<std::string>{}});
  model.adopt(model.copy());
  for (const auto& [parameter, tensor] : model.parameters()) {
    if (parameter.compare(0, name.size() + 1, name + ".") == 0) made.parameters.push_back(parameter);
  }
  made.layers.push_back(name);
}

c10::IValue inferWith(Model& model, const HeadRequest& request) {
  try {
    return model.infer(request.example);
  } catch (const Failure& failure) {
    if (request.pooling.empty()) throw;
    throw Failure(failure.code, std::string(failure.what()) + " The pooling before the head may leave more than one value a channel, so that `pooling` cannot be chosen: leave it out.", failure.detail);
  }
}

void prove(Model& model, const HeadRequest& request) {
  const at::Tensor output = model.mainOutput(inferWith(model, request));
  if (const std::string other = otherOutput(output); !other.empty()) throw Failure("NO_HEAD", "The model is no classifier. " + other);
  if (output.dim() != 2 || output.size(1) != request.classes) {
    throw Failure("NO_HEAD", "With the new head the model returns a tensor of shape " + c10::str(output.sizes()) +
                                 " instead of [n, " + std::to_string(request.classes) + "]. The replaced layer does not make the model's classes; name the one that does with `layer`, on the command line with --head-layer.");
  }
}

// What was frozen stays frozen; the new head learns.
void keepFrozen(Model& model, const std::unordered_set<std::string>& before, const std::vector<std::string>& learned,
                const NewHead& made, bool trainBatchNorm) {
  const std::unordered_set<std::string> learn(learned.begin(), learned.end());
  const std::unordered_set<std::string> fresh(made.parameters.begin(), made.parameters.end());
  std::vector<std::string> names;
  for (const std::string& name : model.trainable()) {
    if (fresh.count(name) || learn.count(name) || !before.count(name)) names.push_back(name);
  }
  model.setTrainable(names, trainBatchNorm);
}

// What resize() changes of a layer, to put it back.
class SavedLayer {
 public:
  explicit SavedLayer(const jit::Module& layer) : layer_(layer) {
    for (const char* name : {"weight", "bias", "out_features", "out_channels", "in_features", "in_channels"}) {
      if (layer.type()->hasAttribute(name)) values_.emplace_back(name, layer.attr(name));
    }
  }
  void restore() {
    for (const auto& [name, value] : values_) layer_.setattr(name, value);
  }

 private:
  jit::Module layer_;
  std::vector<std::pair<std::string, c10::IValue>> values_;
};

struct Before {
  std::unordered_set<std::string> names;
  std::vector<std::string> learned;
  bool trainBatchNorm;
  KnownHeads heads;
};

// New tensors in the layers there are. When anything fails the old ones are put back: the same tensors, so that an
// optimizer that holds them is right still.
NewHead resizeInPlace(Model& model, const HeadRequest& request, const std::vector<Head>& heads, const Before& before) {
  std::vector<SavedLayer> saved;
  for (const Head& head : heads) saved.emplace_back(submodule(model.module(), head.module));
  try {
    NewHead made;
    at::Generator generator = seededGenerator(request.seed);
    for (const Head& head : heads) resize(model, head, request.classes, generator, made);
    model.setKnownHeads(namesOf(heads));
    model.refresh();
    prove(model, request);
    keepFrozen(model, before.names, before.learned, made, before.trainBatchNorm);
    return made;
  } catch (...) {
    for (SavedLayer& layer : saved) layer.restore();
    model.setKnownHeads(before.heads);
    model.refresh();
    model.setTrainable(before.learned, before.trainBatchNorm);
    throw;
  }
}

// A layer's input has twice as many features with the maximum beside the average, half as many without it again. Several
// layers may share a pooling.
void pool(Model& model, const std::string& pooling, std::vector<Head>& heads, size_t count) {
  const bool concat = pooling == "concat";
  std::vector<bool> before;
  for (size_t i = 0; i < count; ++i) before.push_back(poolingOf(model.module(), heads[i].module) == "concat");
  for (size_t i = 0; i < count; ++i) {
    setConcatPooling(model.module(), heads[i], concat);
    if (concat != before[i]) heads[i].inFeatures = concat ? 2 * heads[i].inFeatures : heads[i].inFeatures / 2;
  }
}

// The bias is not used meanwhile, so it does not belong to the head.
void graftCosine(Model& model, const CosineOptions& options, const Head& head, NewHead& made) {
  const std::string scale = addCosine(model.module(), head, options);
  auto& names = made.parameters;
  names.erase(std::remove(names.begin(), names.end(), head.module.empty() ? "bias" : head.module + ".bias"), names.end());
  if (options.learnsScale) names.push_back(scale);
}

// Appends a classifier, whose weights rebuild() initialises like any other head's.
Head appendTo(Model& model, const HeadRequest& request) {
  const at::Tensor output = model.mainOutput(model.infer(request.example));
  // A graph that has run must not be changed.
  model.adopt(model.copy());
  return appendHead(model, request.append, output, request.classes);
}

bool hasSquash(const std::vector<Head>& heads) {
  return std::any_of(heads.begin(), heads.end(), [](const Head& head) { return !squashesBehind(head).empty(); });
}

// On a copy, since forward itself changes: when anything fails, the model is untouched. After a change it is copied again:
// executors do not see a changed graph.
NewHead rebuild(Model& model, const HeadRequest& request, std::vector<Head> heads, const Before& before) {
  const size_t mains = std::count_if(heads.begin(), heads.end(), isMain);
  if (heads.size() > mains && !request.hidden.empty()) {
    throw Failure("NO_HEAD", "A head with hidden layers cannot replace auxiliary heads too: " + listed(heads) + ". Leave `hidden` out.");
  }
  const jit::Module original = model.module();
  model.adopt(model.copy());
  try {
    NewHead made;
    at::Generator generator = seededGenerator(request.seed);
    if (!request.append.empty()) heads = {appendTo(model, request)};
    if (hasSquash(heads)) made.cut = cutSquashes(model.module(), heads);
    // Removing inlines forward: features of what lies below stay shared with other heads only where that is not needed.
    for (size_t i = 0; i < mains; ++i) {
      if (hasStandardiser(model.module(), heads[i].module)) removeStandardiser(model.module(), heads[i].module);
      if (hasCosine(model.module(), heads[i].module)) removeCosine(model.module(), heads[i].module);
    }
    if (!request.pooling.empty()) pool(model, request.pooling, heads, mains);
    // It is set from what one head takes in.
    if (request.standardise && mains == 1) made.standardiser = addStandardiser(model.module(), heads[0]);
    if (request.hidden.empty()) {
      for (const Head& head : heads) resize(model, head, request.classes, generator, made);
      for (size_t i = 0; request.cosine && i < mains; ++i) graftCosine(model, *request.cosine, heads[i], made);
      model.setKnownHeads(namesOf(heads));
      model.adopt(model.copy());
    } else {
      graftMlp(model, request, heads, generator, made);
    }
    prove(model, request);
    keepFrozen(model, before.names, before.learned, made, before.trainBatchNorm);
    return made;
  } catch (...) {
    model.setKnownHeads(before.heads);
    model.adopt(original);
    model.setTrainable(before.learned, before.trainBatchNorm);
    throw;
  }
}

// Those heads of the model that were appended on the same features. Throws Failure("NO_HEAD") for another kind of features.
std::vector<Head> appendedBefore(Model& model, const HeadRequest& request) {
  std::vector<Head> found;
  for (const Head& head : model.facts().heads) {
    const std::string features = appendedFeatures(model.module(), head.module);
    if (features.empty()) continue;
    if (!request.append.empty() && features != request.append) {
      throw Failure("NO_HEAD", "`append` has already put a classifier on the '" + features + "' features of this model. Leave `append` out to replace that one, or load the original network to use '" + request.append + "'.");
    }
    found.push_back(head);
  }
  return found;
}

}  // namespace

NewHead replaceHead(Model& model, const HeadRequest& request) {
  model.refuseQuantised();
  if (model.parameters().empty()) {
    throw Failure("MODEL_FROZEN",
                  "The model has no parameters: torch.jit.freeze made constants of them, so it cannot get a new head. Export "
                  "it again with torch.jit.script(model) or torch.jit.trace(model, example), without torch.jit.freeze.");
  }
  // A classifier that was appended earlier is a head like any other.
  const std::vector<Head> found = appendedBefore(model, request);
  const bool appends = !request.append.empty() && found.empty();
  if (const std::string other = otherPurpose(model); !other.empty() && !appends) throw Failure("NO_HEAD", "The model is no classifier. " + other);
  const std::vector<Head> heads = appends ? std::vector<Head>{} : headsOf(model, model.module(), request.layer);
  Before before{{}, model.trainable(), model.trainsBatchNorm(), model.knownHeads()};
  for (const auto& [name, tensor] : model.parameters()) before.names.insert(name);
  const bool hasGrafts = std::any_of(heads.begin(), heads.end(), [&](const Head& head) {
    return isMain(head) && (hasStandardiser(model.module(), head.module) || hasCosine(model.module(), head.module));
  });
  const bool changesPooling = !appends && !request.pooling.empty() && request.pooling != poolingOf(model.module(), heads[0].module);
  const bool changesForward = appends || !request.hidden.empty() || request.standardise || request.cosine || hasGrafts || changesPooling || hasSquash(heads);
  return changesForward ? rebuild(model, request, heads, before) : resizeInPlace(model, request, heads, before);
}

}  // namespace torchgraft

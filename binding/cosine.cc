#include "cosine.h"

#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include <string_view>

#include "failure.h"
#include "grafts.h"
#include "graph_paths.h"
#include "new_module.h"
#include "specialise.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;

constexpr const char* kClass = "CosineHead";

// x / |x| along a dimension; isCosineProduct() knows it by the product with the scale.
std::string unit(const std::string& value, const std::string& dimension) {
  return "torch.div(" + value + ", torch.clamp_min(torch.norm(" + value + ", 2, [" + dimension + "], True), 1e-12))";
}

void registerScale(jit::Module& module, const at::TensorOptions& options, const CosineOptions& cosine) {
  const at::Tensor scale = at::full({1}, cosine.scale, options);
  if (cosine.learnsScale) {
    module.register_parameter("scale", at::Tensor(scale).set_requires_grad(true), false);
  } else {
    module.register_buffer("scale", scale);
  }
}

bool isKind(const jit::Node* node, std::string_view name) { return node->kind().toQualString() == name; }

// Linear and convolutions take the bias last, addmm first.
void dropBias(jit::Graph& graph, const WeightUse& use, const Head& head) {
  jit::Node* node = use.node;
  jit::WithInsertPoint point(node);
  if (isKind(node, "aten::addmm")) {
    jit::Node* product = graph.insertNode(graph.create(c10::aten::mm, {node->input(use.input), node->input(use.weight)}));
    product->output()->setType(c10::TensorType::get());
    node->output()->replaceAllUsesWith(product->output());
    node->destroy();
    return;
  }
  if (isKind(node, "aten::linear") || isKind(node, "aten::conv2d") || isKind(node, "aten::_convolution")) {
    node->replaceInput(2, graph.insertConstant(c10::IValue()));
  } else if (head.hasBias) {
    throw Failure("NO_HEAD", "The bias of '" + head.module + "' is added apart from it, so it cannot become a cosine head. Leave `kind` out.");
  }
}

void addBias(jit::Graph& graph, jit::Node* node, const std::string& path) {
  if (isKind(node, "aten::mm") || isKind(node, "aten::matmul")) {
    jit::WithInsertPoint point(node->next());
    jit::Value* one = graph.insertConstant(1);
    jit::Node* sum = graph.insertNode(graph.create(c10::aten::add, {node->output(), insertRead(graph, path), one}));
    sum->output()->setType(c10::TensorType::get());
    node->output()->replaceAllUsesAfterNodeWith(sum, sum->output());
    return;
  }
  jit::WithInsertPoint point(node);
  node->replaceInput(2, insertRead(graph, path));
}

bool isCosine(const WeightUse& use) { return isCosineProduct(untransposed(use.node->input(use.weight))->node()); }

}  // namespace

bool hasCosine(const jit::Module& module, const std::string& layer) {
  const auto graph = inlinedForward(module);
  for (const WeightUse& use : usesOf(*graph, Paths(*graph), layer)) {
    if (isCosine(use)) return true;
  }
  return false;
}

void removeCosine(jit::Module& module, const std::string& layer) {
  const auto graph = flattenForward(module);
  const Paths paths(*graph);
  std::string child;
  for (const WeightUse& use : usesOf(*graph, paths, layer)) {
    if (!isCosine(use)) continue;
    jit::Node* product = const_cast<jit::Node*>(untransposed(use.node->input(use.weight))->node());
    if (const std::string* scale = paths.of(product->input(1))) child = parentOf(*scale);
    product->output()->replaceAllUsesWith(product->input(0)->node()->input(0));
    use.node->replaceInput(use.input, use.node->input(use.input)->node()->input(0));
    const std::string bias = layer.empty() ? "bias" : layer + ".bias";
    const jit::Module owner = submodule(module, layer);
    if (owner.hasattr("bias") && owner.attr("bias").isTensor()) addBias(*graph, use.node, bias);
  }
  jit::EliminateDeadCode(graph);
  // One that makeCosineLayer() made is the layer itself, and one within another model's forward is named there.
  if (child.empty() || child == layer || !parentOf(child).empty()) return;
  module._ivalue()->unsafeRemoveAttr(child);
  module.type()->unsafeRemoveAttribute(child);
}

std::string addCosine(jit::Module& module, const Head& head, const CosineOptions& options) {
  const auto graph = flattenForward(module);
  const auto uses = usesOf(*graph, Paths(*graph), head.module);
  const at::Tensor weight = attributeAt(module, weightOf(head.module)).toTensor();
  if (uses.empty() || (head.convolution && weight.numel() != weight.size(0) * weight.size(1))) {
    throw Failure("NO_HEAD", "'" + head.module + "' is no Linear or 1x1 convolution that forward computes with, so it cannot become a cosine head. Leave `kind` out.");
  }
  jit::Module cosine = makeModule(module, kClass);
  registerScale(cosine, at::TensorOptions().dtype(weight.scalar_type()).device(weight.device()), options);
  cosine.define("def forward(self, weight):\n    return torch.mul(" + unit("weight", "1") + ", self.scale)\n");
  // Channels of an image come before its sides.
  cosine.define("def normalise(self, x):\n    return " + unit("x", head.convolution ? "-3" : "-1") + "\n");
  const std::string name = freeName(module, "cosine");
  module.register_module(name, cosine);
  for (const WeightUse& use : uses) {
    jit::WithInsertPoint point(use.node);
    jit::Value* self = insertRead(*graph, name);
    const auto& schema = cosine.get_method("normalise").function().getSchema();
    jit::Value* unitInput = graph->insertMethodCall("normalise", jit::matchSchema(schema, jit::SourceRange(), *graph, {self, use.node->input(use.input)}, {}));
    use.node->replaceInput(use.input, unitInput);
  }
  wrapReads(*graph, module, weightOf(head.module), name);
  for (const WeightUse& use : uses) dropBias(*graph, use, head);
  return name + ".scale";
}

jit::Module makeCosineLayer(const jit::Module& model, const at::Tensor& weight, const CosineOptions& options) {
  jit::Module layer = makeModule(model, kClass);
  layer.register_parameter("weight", at::Tensor(weight).set_requires_grad(true), false);
  registerScale(layer, at::TensorOptions().dtype(weight.scalar_type()).device(weight.device()), options);
  layer.define("def forward(self, x):\n    return torch.linear(" + unit("x", "-1") + ", torch.mul(" + unit("self.weight", "1") + ", self.scale))\n");
  return layer;
}

}  // namespace torchgraft

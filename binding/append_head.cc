#include "append_head.h"

#include "failure.h"
#include "main_output.h"
#include "new_module.h"

namespace torchgraft {

namespace {

namespace jit = torch::jit;

constexpr const char* kClass = "AppendedLinear";
constexpr const char* kFeatures = "features";

// What gives the features of an output with so many dimensions, and how many there are.
struct Taking {
  std::string source;
  int64_t width;
};

Taking takingOf(const std::string& features, const at::Tensor& output) {
  const int64_t dims = output.dim();
  if (dims == 3) {
    const int64_t width = output.size(2);
    if (features == "pooled") return {"x.mean(1)", width};
    if (features == "classToken") return {"x[:, 0]", width};
    if (output.size(1) > 1) return {"torch.cat([x[:, 0], x[:, 1:].mean(1)], 1)", 2 * width};
  }
  if (features == "pooled" && dims == 2) return {"x", output.size(1)};
  if (features == "pooled" && dims == 4) return {"x.mean([2, 3])", output.size(1)};
  const bool isPooled = dims == 2 || dims == 4;
  throw Failure("NO_HEAD", "The model returns a tensor of shape " + c10::str(output.sizes()) + ", of which `append: '" + features + "'` cannot be taken: " +
                               (isPooled ? "it has no tokens. Use `pooled`." : "a classifier needs rows [n, c], tokens [n, t, c] or a map [n, c, h, w]."));
}

jit::Module makeTaker(const jit::Module& model, const Taking& taking) {
  jit::Module taker = makeModule(model, "AppendedFeatures");
  taker.define("def forward(self, x):\n    return " + taking.source + "\n");
  return taker;
}

// Its weights are set by who replaces heads.
jit::Module makeClassifier(Model& model, const std::string& features, int64_t in, int64_t out) {
  const at::TensorOptions options = model.parameters().at(0).second.options().requires_grad(false);
  jit::Module linear = makeModule(model.module(), kClass);
  linear.register_attribute(kFeatures, c10::StringType::get(), features);
  linear.register_parameter("weight", at::zeros({out, in}, options).set_requires_grad(true), false);
  linear.register_parameter("bias", at::zeros({out}, options).set_requires_grad(true), false);
  linear.define("def forward(self, x):\n    return torch.linear(x, self.weight, self.bias)\n");
  return linear;
}

}  // namespace

bool isAppendable(const std::string& features) { return features == "pooled" || features == "classToken" || features == "both"; }

std::string appendedFeatures(const jit::Module& module, const std::string& layer) {
  const jit::Module found = submodule(module, layer);
  return isMadeAs(*found.type(), kClass) ? found.attr(kFeatures).toStringRef() : "";
}

Head appendHead(Model& model, const std::string& features, const at::Tensor& output, int64_t classes) {
  const Taking taking = takingOf(features, output);
  jit::Module& module = model.module();
  auto graph = module.get_method("forward").graph();
  const auto [taker, at] = takerOf(*graph, model.facts().mainOutput, "A classifier can be appended to",
                                   "Export it with a forward that returns one tensor.");
  const jit::Module before = makeTaker(module, taking);
  const jit::Module linear = makeClassifier(model, features, taking.width, classes);
  const std::string place = freeName(module, "features");
  module.register_module(place, before);
  const std::string name = freeName(module, "classifier");
  module.register_module(name, linear);
  jit::WithInsertPoint point(taker);
  jit::Value* taken = insertChildCall(*graph, before, place, taker->input(at));
  taker->replaceInput(at, insertChildCall(*graph, linear, name, taken));
  model.setKnownHeads({{name}, std::vector<std::string>{}});
  Head head = *headAt(module, name);
  head.place = model.facts().mainOutput;
  return head;
}

}  // namespace torchgraft

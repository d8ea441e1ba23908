#include "new_module.h"

namespace torchgraft {

namespace jit = torch::jit;

namespace {

constexpr const char* kPrefix = "__torch__.torchgraft";

}  // namespace

jit::Module makeModule(const jit::Module& model, const std::string& className) {
  auto unit = model._ivalue()->compilation_unit();
  auto qualified = unit->mangle(c10::QualifiedName(std::string(kPrefix) + "." + className));
  jit::Module module(qualified, unit);
  module.register_attribute("training", c10::BoolType::get(), true);
  return module;
}

std::string freeName(const jit::Module& module, std::string name) {
  while (module.hasattr(name)) name += "_";
  return name;
}

bool isMadeAs(const c10::ClassType& type, const std::string& className) {
  // Mangled names have more atoms between the two.
  const auto name = type.name();
  return name && name->name() == className && name->qualifiedName().find(kPrefix) == 0;
}

jit::Value* insertChildCall(jit::Graph& forward, const jit::Module& child, const std::string& name, jit::Value* value) {
  jit::Value* self = forward.insertGetAttr(forward.inputs().at(0), name);
  self->setType(child.type());
  const auto& schema = child.get_method("forward").function().getSchema();
  return forward.insertMethodCall("forward", jit::matchSchema(schema, jit::SourceRange(), forward, {self, value}, {}));
}

}  // namespace torchgraft

#include "main_output.h"

#include <optional>

#include "failure.h"

namespace torchgraft {

namespace jit = torch::jit;

std::pair<jit::Node*, size_t> takerOf(jit::Graph& graph, const OutputPlace& place, const std::string& what,
                                       const std::string& advice) {
  jit::Node* end = graph.return_node();
  if (place.empty()) return {end, 0};
  jit::Node* whole = graph.outputs().at(0)->node();
  const bool isDict = whole->kind() == c10::prim::DictConstruct;
  const bool isSequence = whole->kind() == c10::prim::TupleConstruct || whole->kind() == c10::prim::ListConstruct;
  for (size_t i = 0; place.size() == 1 && (isDict || isSequence) && i < whole->inputs().size(); i += isDict ? 2 : 1) {
    const std::optional<c10::IValue> key = isDict ? jit::toIValue(whole->input(i)) : std::optional<c10::IValue>(std::to_string(i));
    if (key && key->isString() && key->toStringRef() == place[0]) return {whole, isDict ? i + 1 : i};
  }
  throw Failure("NO_HEAD", what + " a model that returns one tensor, or a tuple, list or dict that the end of its forward makes; this one returns " +
                               graph.outputs().at(0)->type()->str() + ". " + advice);
}

}  // namespace torchgraft

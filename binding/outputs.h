// What forward returns, taken apart: where in tuples, lists and dicts its tensors lie.
#pragma once

#include <string>
#include <vector>

#include "output_place.h"
#include "torch.h"

namespace torchgraft {

// A tensor that forward returns, as its graph tells.
struct Output {
  OutputPlace place;
  // Of a named tuple's field, or the key in a dict; '' without one.
  std::string name;
  // What it is made as; several where branches differ.
  std::vector<const torch::jit::Value*> values;
};

// In order. One that is surely None is left out. Of a structure that the graph does not tell, one output for the whole.
std::vector<Output> outputsOf(const torch::jit::Graph& graph);

// The makers of a value: through casts of its type alone, branches, and tuples and lists that are taken apart again.
std::vector<const torch::jit::Value*> makersOf(const torch::jit::Value* value);

// What a list holds at some time: what it was made of, and what was put in later.
std::vector<const torch::jit::Value*> everIn(const torch::jit::Value* list);

// The floating-point tensor at this place; where there is none, the first one. Throws Failure("MODEL_FAILED") without any.
at::Tensor outputAt(const c10::IValue& output, const OutputPlace& place);
// Undefined where no floating-point tensor lies there.
at::Tensor findOutput(const c10::IValue& output, const OutputPlace& place);

}  // namespace torchgraft

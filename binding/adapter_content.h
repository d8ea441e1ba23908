// What an adapter file gives a model: a head, low-rank adapters, and their values.
#pragma once

#include <optional>

#include "head.h"
#include "lora.h"

namespace torchgraft {

struct AdapterContent {
  // None where the model has the head already.
  std::optional<HeadRequest> head;
  AdapterRequest adapters;
  // A and B of each of `adapters.layers`.
  std::vector<at::Tensor> down;
  std::vector<at::Tensor> up;
  // Of the head.
  NamedTensors values;
};

// All or none: when anything fails, the model is as it was. Throws Failure as replaceHead, addAdapters and setValues do, and
// SHAPE_MISMATCH where a layer cannot have its adapter.
NewHead putAdapters(Model& model, const AdapterContent& content);

}  // namespace torchgraft

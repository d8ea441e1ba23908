#include "purpose.h"

#include "model.h"

namespace torchgraft {

namespace {

bool isTensor(const c10::TypePtr& type) { return type->isSubtypeOf(*c10::TensorType::get()); }

// Scores, alone or before auxiliary outputs.
bool givesTensor(const c10::TypePtr& type) {
  if (isTensor(type)) return true;
  const auto tuple = type->cast<c10::TupleType>();
  return tuple && !tuple->elements().empty() && isTensor(tuple->elements()[0]);
}

}  // namespace

std::string purpose() {
  return "torchgraft fine-tunes image classifiers: one tensor of images [n, 3, height, width] goes in, scores [n, classes] come out.";
}

std::string otherPurpose(Model& model) {
  const auto& schema = model.module().get_method("forward").function().getSchema();
  if (schema.arguments().size() > 1) {
    const c10::TypePtr input = schema.arguments()[1].type();
    if (!isTensor(input)) return "Its forward takes " + input->repr_str() + (input->cast<c10::ListType>() ? ", as detectors do" : "") + ". " + purpose();
  }
  // Whatever it returns beside, what a head makes are scores.
  if (!model.facts().heads.empty() || schema.returns().empty() || givesTensor(schema.returns()[0].type())) return "";
  const c10::TypePtr output = schema.returns()[0].type();
  const std::string example = output->cast<c10::DictType>() ? ", as segmentation networks do" : "";
  return "Its forward returns " + output->repr_str() + example + ". " + purpose() + " To put a classifier behind an encoder, use `append` (--append-head).";
}

std::string otherOutput(const at::Tensor& output) {
  if (output.dim() == 2) return "";
  const std::string example = output.dim() == 4 ? ", a map for each image, as segmentation networks do" : output.dim() == 3 ? ", a row for each part, as detectors and text networks do" : "";
  return "It returns " + c10::str(output.sizes()) + example + ". " + purpose();
}

}  // namespace torchgraft

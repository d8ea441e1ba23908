// The methods of NativeModel that look at weights and buffers by name, and set them.
#include <unordered_set>

#include "failure.h"
#include "native_model.h"
#include "plain.h"

namespace torchgraft {

namespace {

// More parameters and buffers than any network has.
constexpr uint32_t kMostValues = 1 << 16;

// Each name once: what crosses is then no larger than the model.
std::vector<std::string> readNames(const Napi::Value& value, const std::string& where) {
  auto names = readStrings(value, where);
  std::unordered_set<std::string> seen;
  for (const auto& name : names) {
    if (!seen.insert(name).second) throw Failure("INVALID_VALUE", where + " holds '" + name + "' twice.");
  }
  return names;
}

Finish tensorList(std::vector<at::Tensor> tensors) {
  return [tensors = std::move(tensors)](Napi::Env env) { return writeTensors(env, tensors); };
}

}  // namespace

Napi::Value NativeModel::values(const Napi::CallbackInfo& info) {
  return run(info, [names = readNames(info[0], "values: names")](Loaded& loaded) {
    std::vector<at::Tensor> tensors;
    for (const auto& name : names) tensors.push_back(detachForJs(loaded.model->tensorNamed(name)).toTensor());
    return tensorList(std::move(tensors));
  });
}

Napi::Value NativeModel::setValues(const Napi::CallbackInfo& info) {
  auto names = readNames(info[0], "setValues: names");
  auto tensors = readTensors(info[1], "setValues: values", kMostValues);
  if (tensors.size() != names.size()) {
    throw Failure("SHAPE_MISMATCH", "setValues: " + std::to_string(names.size()) + " name(s) and " + std::to_string(tensors.size()) + " value(s).");
  }
  NamedTensors values;
  for (size_t i = 0; i < names.size(); ++i) values.emplace_back(std::move(names[i]), std::move(tensors[i]));
  return run(info, [values = std::move(values)](Loaded& loaded) {
    refuseServing(loaded, "setValues");
    loaded.model->setValues(values);
    return nothing();
  });
}

Napi::Value NativeModel::gradients(const Napi::CallbackInfo& info) {
  return run(info, [names = readNames(info[0], "gradients: names")](Loaded& loaded) {
    std::vector<at::Tensor> tensors;
    for (const auto& name : names) {
      const at::Tensor gradient = loaded.model->tensorNamed(name).grad();
      tensors.push_back(gradient.defined() ? detachForJs(gradient).toTensor().clone() : at::Tensor());
    }
    return tensorList(std::move(tensors));
  });
}

}  // namespace torchgraft

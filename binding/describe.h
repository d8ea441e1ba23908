// What a person wants to know of a loaded model, as data.
#pragma once

#include <napi.h>

#include <string>
#include <vector>

#include "lora.h"
#include "model.h"
#include "trainer.h"

namespace torchgraft {

struct TensorDescription {
  std::string name;
  std::vector<int64_t> shape;
  std::string dtype;
  // Of a tied parameter, beside the first.
  std::vector<std::string> otherNames;
  bool trainable = false;
  int group = -1;
};

struct ModuleDescription {
  std::string path;
  std::string type;
  bool training = false;
};

struct Description {
  std::vector<ModuleDescription> modules;
  std::vector<TensorDescription> parameters;
  std::vector<TensorDescription> buffers;
  std::vector<std::string> layers;
  ForwardFacts facts;
  ModelFindings findings;
  std::vector<Adapter> adapters;
  // Of the convolution that comes first; 0 where none does.
  int64_t inputChannels = 0;
  std::vector<std::pair<std::string, std::string>> inputs;
  std::string output;
  std::string device;
};

// On the model's thread.
Description describeModel(Model& model, const Trainer* trainer);
// On the JavaScript thread.
Napi::Value writeDescription(Napi::Env env, const Description& description);

}  // namespace torchgraft

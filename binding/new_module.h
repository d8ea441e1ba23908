// Modules made from TorchScript source, beside those a model was loaded with.
#pragma once

#include <string>

#include "torch.h"

namespace torchgraft {

// Empty but for its `training` flag, of a class of its own in the model's compilation unit.
torch::jit::Module makeModule(const torch::jit::Module& model, const std::string& className);

// The name, with as many underscores behind it as it takes to be no attribute of the module yet.
std::string freeName(const torch::jit::Module& module, std::string name);

// The class of a module made by makeModule() with this class name, here or before the model was saved.
bool isMadeAs(const c10::ClassType& type, const std::string& className);

// Puts a call of the module's child `name`, whose forward takes one tensor, behind `value`.
torch::jit::Value* insertChildCall(torch::jit::Graph& forward, const torch::jit::Module& child, const std::string& name,
                                   torch::jit::Value* value);

}  // namespace torchgraft

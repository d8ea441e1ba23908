// The tensors that a pickle of TorchScript makes, compared with the records that hold their elements.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pickle.h"
#include "zip.h"

namespace torchgraft::archive {

// Storages are in records `<folder>/<key>`. Throws Unfit where a tensor claims more than its record has, or lies outside
// of its storage: libtorch would take for weights whatever memory holds there.
void checkTensors(const Pickle& pickle, const Directory& directory, const std::string& folder);

struct NamedShape {
  std::string name;
  // PyTorch's word: float32.
  std::string dtype;
  std::vector<int64_t> shape;
};

// The tensors of a pickled module by their paths, each once, and names of the modules' classes; at most `most`.
struct ModuleContent {
  std::vector<NamedShape> tensors;
  std::vector<std::string> classes;
};
ModuleContent listModule(const Pickle& pickle, size_t most);

}  // namespace torchgraft::archive

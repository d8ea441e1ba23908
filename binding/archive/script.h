// The source text of a model's classes, read before libtorch's parser sees it: that one recurses as deep as its input is
// nested, and the stack ends.
#pragma once

#include <set>
#include <string>
#include <string_view>

namespace torchgraft::archive {

// What the classes of a model name.
struct ScriptFacts {
  // `aten::conv2d`.
  std::set<std::string> operators;
  // Classes of libtorch's own that are written in C++, `quantized.Conv2dPackedParamsBase`.
  std::set<std::string> nativeClasses;
  // Classes whose __setstate__ runs when the model is opened.
  std::set<std::string> restoring;
  // What reaches files, other processes or libtorch's memory: operators, and classes that are no packed weights.
  std::set<std::string> reaching;
};

// Bounds of one file of source text. Throws Unfit. With `facts`, collects what it names.
void checkScript(std::string_view source, ScriptFacts* facts = nullptr);

// A type, as pickles name it: `List[Tensor]`.
void checkType(std::string_view type);

}  // namespace torchgraft::archive

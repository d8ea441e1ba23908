// What a pickle holds that torch.save or another program wrote.
#pragma once

#include <string>

#include "findings.h"

namespace torchgraft::archive {

// The pickle that begins at `at`. Kinds: state-dict, pickled-module, pickled-tensors, pickle.
Finding tellPickled(const std::string& bytes, size_t at);

// A file of pickles one after the other: torch.save's layout of before 2020, or what another program wrote.
Finding tellPickledFile(const std::string& bytes);

}  // namespace torchgraft::archive

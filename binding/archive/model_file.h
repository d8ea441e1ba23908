// Everything that is looked at before libtorch opens a file. Nothing of the file runs here.
#pragma once

#include <string>
#include <vector>

#include "byte_source.h"
#include "findings.h"
#include "script.h"
#include "tensors.h"
#include "zip.h"

namespace torchgraft::archive {

// Whether libtorch may open these bytes as a TorchScript model: directory, checksums, code, pickles, tensors. Throws WrongKind
// for what is no such file, and Unfit for a damaged or hostile one.
void checkModelFile(const std::shared_ptr<ByteSource>& bytes);

// The same for a checkpoint of torchgraft's.
void checkCheckpointFile(const std::shared_ptr<ByteSource>& bytes);

// As checkModelFile, and refuses what would run code when it is opened, or could reach files and other processes.
void checkSafeModelFile(const std::shared_ptr<ByteSource>& bytes);

// Whether jit::pickle_load may read these bytes. Throws Unfit.
void checkPickleFile(const std::shared_ptr<ByteSource>& bytes);

// What can be told of a file without opening it.
struct ModelFileFacts {
  Finding finding;
  uint64_t bytes = 0;
  std::vector<Record> records;
  // What is wrong with it; empty where libtorch may open it.
  std::string damage;
  ScriptFacts script;
  ModuleContent content;
  // The text of `extra/torchgraft.json`.
  std::string card;
};
ModelFileFacts inspectModelFile(const std::shared_ptr<ByteSource>& bytes, const std::string& cardName);

}  // namespace torchgraft::archive

// What a file is, told by its content: its first bytes, and of an archive the names of its records.
#pragma once

#include "byte_source.h"
#include "findings.h"

namespace torchgraft::archive {

// `torchscript`, or `checkpoint` for one of torchgraft's, where libtorch might open it, whatever state it is in; the other kinds are listed in src/archive/kinds.ts.
// Throws Unfit where it cannot be read at all.
Finding tellKind(const ByteSource& bytes);

}  // namespace torchgraft::archive

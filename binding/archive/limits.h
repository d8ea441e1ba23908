// How much a file may ask of libtorch. Each is far above what PyTorch writes for any network, and far below what hurts.
#pragma once

#include <cstddef>
#include <cstdint>

namespace torchgraft::archive {

// Entries of a directory, and its bytes. A network has one record for each tensor and two for each class.
inline constexpr uint64_t kMostRecords = 1 << 20;
inline constexpr uint64_t kDirectoryBytes = 256 << 20;
// Source text of all classes together: libtorch takes 300 times as much memory, and 10 seconds for each MiB. A traced DenseNet121 has a quarter of one.
inline constexpr uint64_t kCodeBytes = 8 << 20;
// One pickle, and all of them together. What takes room in a network, its tensors, is not in them.
inline constexpr uint64_t kPickleBytes = 64 << 20;
inline constexpr uint64_t kAllPickleBytes = 256 << 20;
// What compressed records other than code may hold beyond 8 times the file: weights hardly compress.
inline constexpr uint64_t kInflatedSlack = 64 << 20;
// Values that a pickle makes.
inline constexpr size_t kMostValues = 1 << 23;
// Objects in objects in a pickle; a module in a module takes three.
inline constexpr uint32_t kPickleDepth = 1000;
// The same, each counted as often as it is referred to.
inline constexpr uint64_t kMostReferred = 1 << 26;
// Operators, names and brackets that may lie in each other in one expression; blocks in blocks.
inline constexpr uint32_t kExpressionDepth = 1000;
inline constexpr uint32_t kBlockDepth = 250;
// Of a tensor that repeats its elements (strides of 0), bytes.
inline constexpr uint64_t kExpandedBytes = 1 << 30;
// The name of a class.
inline constexpr size_t kNameBytes = 4096;

}  // namespace torchgraft::archive

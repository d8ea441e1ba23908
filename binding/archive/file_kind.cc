#include "file_kind.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>

#include "pickled_kind.h"
#include "zip.h"

namespace torchgraft::archive {

namespace {

constexpr size_t kStartBytes = 1 << 16;
constexpr size_t kPickleStart = 16 << 20;

struct Signature {
  size_t at;
  std::string_view bytes;
  const char* kind;
};

using namespace std::string_view_literals;

constexpr std::array kSignatures{
    Signature{0, "\x89HDF\r\n\x1a\n"sv, "hdf5"},   Signature{4, "TFL3"sv, "tflite"},
    Signature{4, "PTMF"sv, "flatbuffer"},          Signature{4, "ET12"sv, "executorch"},
    Signature{0, "GGUF"sv, "gguf"},                Signature{0, "lmgg"sv, "gguf"},
    Signature{0, "\x93NUMPY"sv, "numpy"},          Signature{0, "\x1f\x8b"sv, "gzip"},
    Signature{0, "BZh"sv, "bzip2"},                Signature{0, "\xfd""7zXZ"sv, "xz"},
    Signature{0, "\x28\xb5\x2f\xfd"sv, "zstd"},    Signature{0, "7z\xbc\xaf\x27\x1c"sv, "7z"},
    Signature{0, "Rar!"sv, "rar"},                 Signature{257, "ustar"sv, "tar"},
    Signature{0, "\xff\xd8\xff"sv, "image"},       Signature{0, "\x89PNG"sv, "image"},
    Signature{0, "GIF8"sv, "image"},               Signature{8, "WEBP"sv, "image"},
    Signature{0, "%PDF"sv, "pdf"},                 Signature{0, "\x7f""ELF"sv, "program"},
    Signature{0, "MZ"sv, "program"},               Signature{0, "PYTORCH1"sv, "preview"},
};

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

uint64_t littleEndian(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

// 8 bytes with the length of a header, which is JSON.
std::optional<Finding> tellSafetensors(const ByteSource& bytes, const std::string& start) {
  if (start.size() < 10 || start[8] != '{') return std::nullopt;
  const uint64_t header = littleEndian(std::string_view(start).substr(0, 8));
  if (header < 2 || header > 100'000'000) return std::nullopt;
  const std::string text = bytes.readText(8, std::min<uint64_t>({header, bytes.size() - 8, uint64_t{1} << 20}));
  const bool isWhole = bytes.size() - 8 >= header;
  if (text.find("torchgraft.adapter") != std::string::npos) return Finding{"adapter", {}};
  if (text.find("lora_A") != std::string::npos || text.find("lora_up") != std::string::npos) return Finding{"peft-adapter", {}};
  return Finding{"safetensors", {{"whole", isWhole ? "yes" : "no"}}};
}

// The fields of a protocol buffer, as far as the bytes go.
class ProtocolBuffer {
 public:
  explicit ProtocolBuffer(std::string_view bytes) : bytes_(bytes) {}

  struct Field {
    uint64_t number = 0;
    std::string_view text;
    // Its length as it is said, of which not all need to be here.
    uint64_t length = 0;
    uint64_t value = 0;
    bool isText = false;
  };

  std::optional<Field> next() {
    const auto key = varint();
    if (!key || *key >> 3 == 0) return std::nullopt;
    Field field;
    field.number = *key >> 3;
    if ((*key & 7) == 0) {
      const auto value = varint();
      if (!value) return std::nullopt;
      field.value = *value;
      return field;
    }
    if ((*key & 7) != 2) return std::nullopt;
    const auto length = varint();
    if (!length) return std::nullopt;
    field.isText = true;
    field.length = *length;
    field.text = bytes_.substr(at_, std::min<uint64_t>(*length, bytes_.size() - at_));
    at_ += field.text.size();
    return field;
  }

 private:
  std::optional<uint64_t> varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64 && at_ < bytes_.size(); shift += 7) {
      const auto byte = static_cast<uint8_t>(bytes_[at_++]);
      value |= static_cast<uint64_t>(byte & 127) << shift;
      if (byte < 128) return value;
    }
    return std::nullopt;
  }

  std::string_view bytes_;
  size_t at_ = 0;
};

bool isPrintable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return c >= 32 && c < 127; });
}

// ONNX: version of the format (1), who wrote it (2, 3, 4), its own version (5), words (6), and the graph (7) or the
// operator sets (8). TensorFlow: a saved model has a 1 and then a graph of megabytes (2); a frozen graph begins with a
// node (1) that has a name (1) and an operation (2).
std::optional<Finding> tellProtocolBuffer(const std::string& start) {
  ProtocolBuffer buffer(start);
  const auto first = buffer.next();
  if (!first || first->number != 1) return std::nullopt;
  if (first->isText) {
    ProtocolBuffer node(first->text);
    const auto name = node.next(), operation = node.next();
    const bool isNode = name && operation && name->number == 1 && operation->number == 2 && name->isText && operation->isText &&
                        !name->text.empty() && !operation->text.empty() && isPrintable(name->text) && isPrintable(operation->text);
    return isNode ? std::optional(Finding{"tensorflow", {}}) : std::nullopt;
  }
  if (first->value == 0 || first->value > 100) return std::nullopt;
  std::string producer;
  for (auto field = buffer.next(); field; field = buffer.next()) {
    const bool isWords = field->isText && field->number >= 2 && field->number <= 6 && field->number != 5;
    if (isWords && (field->length > 4096 || !isPrintable(field->text))) {
      return field->number == 2 && first->value == 1 ? std::optional(Finding{"tensorflow", {}}) : std::nullopt;
    }
    if (isWords && field->number == 2) producer = std::string(field->text);
    if (field->isText && (field->number == 7 || field->number == 8)) return Finding{"onnx", {{"producer", producer}}};
    if (!isWords && field->number != 5) return std::nullopt;
  }
  return std::nullopt;
}

// Text without control characters, UTF-8 as far as one can tell.
bool isText(const std::string& start) {
  return std::all_of(start.begin(), start.end(), [](unsigned char c) { return c >= 32 || c == '\n' || c == '\r' || c == '\t' || c == '\f'; });
}

Finding tellText(const std::string& start) {
  size_t begin = start.compare(0, 3, "\xef\xbb\xbf") == 0 ? 3 : 0;
  begin = std::min(start.find_first_not_of(" \t\r\n", begin), start.size());
  const std::string head = lower(start.substr(begin, 512));
  if (head.starts_with("version https://git-lfs")) return {"git-lfs", {}};
  if (head.starts_with("<!doctype html") || head.starts_with("<html") || (head.starts_with("<") && head.find("<html") != std::string::npos)) return {"html", {}};
  if (head.starts_with("<")) return {"xml", {}};
  if (head.starts_with("{") || head.starts_with("[")) return {"json", {}};
  const std::string line = start.substr(begin, std::min<size_t>(start.find('\n', begin) - begin, 60));
  return {"text", {{"line", line}}};
}

bool hasRecord(const Directory& directory, std::string_view ending) {
  return std::any_of(directory.records().begin(), directory.records().end(), [&](const Record& record) { return record.name.ends_with(ending); });
}

std::string fewNames(const Directory& directory) {
  std::string names;
  for (size_t i = 0; i < std::min<size_t>(3, directory.records().size()); ++i) names += (i > 0 ? ", " : "") + directory.records()[i].name;
  return names;
}

// A file of torch.save in the layout of 2020 and later.
Finding tellTorchSave(const ByteSource& bytes, const Directory& directory) {
  const Record* record = directory.find("data.pkl");
  if (record->isDeflated || record->size > kPickleStart) return {"torch-save", {}};
  const std::string text = bytes.readText(record->data, record->size);
  Finding finding = tellPickled(text, 0);
  finding.facts.emplace_back("layout", "zip");
  return finding;
}

Finding tellZip(const ByteSource& bytes) {
  std::optional<Directory> read;
  try {
    read.emplace(Directory::read(bytes));
  } catch (const Unfit& unfit) {
    return {"damaged-zip", {{"why", unfit.what()}}};
  }
  const Directory& directory = *read;
  if (directory.records().empty()) return {"zip", {{"names", ""}, {"records", "0"}}};
  if (directory.find("extra/torchgraft.session")) return {"checkpoint", {}};
  if (directory.find("constants.pkl") && directory.find("data.pkl")) return {"torchscript", {}};
  if (directory.find("model.json") && directory.find("version") && !directory.find("archive_format")) return {"torchscript", {}};
  if (directory.find("bytecode.pkl")) return {"mobile", {}};
  if (hasRecord(directory, "/archive_format") || hasRecord(directory, "serialized_exported_program.json") ||
      hasRecord(directory, "archive_format")) {
    return {"exported-program", {}};
  }
  if (directory.find(".data/extern_modules")) return {"torch-package", {}};
  if (directory.find("data.pkl")) return tellTorchSave(bytes, directory);
  if (hasRecord(directory, "model.weights.h5")) return {"keras", {}};
  if (hasRecord(directory, "MAR-INF/MANIFEST.json")) return {"torchserve", {}};
  const auto isArray = [](const Record& record) { return record.name.ends_with(".npy"); };
  if (std::all_of(directory.records().begin(), directory.records().end(), isArray)) return {"numpy", {}};
  return {"zip", {{"names", fewNames(directory)}, {"records", std::to_string(directory.records().size())}}};
}

// Whose beginning may be damaged, or that something was put before.
bool endsAsZip(const ByteSource& bytes) {
  constexpr size_t kEndBytes = 22;
  return bytes.size() >= kEndBytes && bytes.readText(bytes.size() - kEndBytes, 4) == "PK\5\6";
}

// A pickle that is not in an archive: torch.save of before 2020, or any program's.
std::optional<Finding> tellPickle(const ByteSource& bytes, const std::string& start) {
  if (start.size() < 3 || static_cast<uint8_t>(start[0]) != 0x80 || static_cast<uint8_t>(start[1]) > 5) return std::nullopt;
  const std::string text = bytes.readText(0, std::min<uint64_t>(bytes.size(), kPickleStart));
  Finding finding = tellPickledFile(text);
  finding.facts.emplace_back("layout", "legacy");
  return finding;
}

}  // namespace

Finding tellKind(const ByteSource& bytes) {
  if (bytes.size() == 0) return {"empty", {}};
  const std::string start = bytes.readText(0, std::min<uint64_t>(bytes.size(), kStartBytes));
  if (beginsAsZip(start) || endsAsZip(bytes)) return tellZip(bytes);
  if (auto found = tellPickle(bytes, start)) return *found;
  for (const Signature& signature : kSignatures) {
    if (start.size() >= signature.at + signature.bytes.size() && start.compare(signature.at, signature.bytes.size(), signature.bytes) == 0) {
      return {signature.kind, {}};
    }
  }
  if (auto found = tellSafetensors(bytes, start)) return *found;
  if (isText(start)) return tellText(start);
  if (auto found = tellProtocolBuffer(start)) return *found;
  if (std::all_of(start.begin(), start.end(), [](char c) { return c == 0; })) return {"zeros", {}};
  return {"unknown", {}};
}

}  // namespace torchgraft::archive

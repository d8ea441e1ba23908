#include "model_file.h"

#include <caffe2/serialize/inline_container.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "crc32.h"
#include "file_kind.h"
#include "limits.h"

namespace torchgraft::archive {

namespace {

using caffe2::serialize::PyTorchStreamReader;

constexpr size_t kChunkBytes = 1 << 20;

bool isCode(const Record& record) { return record.name.ends_with(".py"); }
bool isPickle(const Record& record) { return record.name.ends_with("pkl"); }

// Before anything is inflated.
void checkSizes(const Directory& directory, uint64_t fileBytes) {
  uint64_t code = 0, pickles = 0, inflated = 0;
  for (const Record& record : directory.records()) {
    if (isCode(record)) code += record.size;
    else if (isPickle(record)) pickles += record.size;
    else if (record.isDeflated) inflated += record.size;
    // Sums of sizes below this do not overflow.
    if (record.size > uint64_t{1} << 48) throw Unfit("has a record, " + record.name + ", of " + std::to_string(record.size) + " bytes. It is not opened.");
    if (isPickle(record) && record.size > kPickleBytes) throw Unfit("has a pickle, " + record.name + ", of " + std::to_string(record.size) + " bytes. No model has one so large, and it is not opened.");
  }
  if (code > kCodeBytes) throw Unfit("has " + std::to_string(code) + " bytes of code. No network has so much, and it is not opened.");
  if (pickles > kAllPickleBytes) throw Unfit("has " + std::to_string(pickles) + " bytes of pickles. No network has so many, and it is not opened.");
  if (inflated > kInflatedSlack + 8 * fileBytes) {
    throw Unfit("would grow from " + std::to_string(fileBytes) + " to " + std::to_string(inflated) + " bytes when it is unpacked. Weights do not, and it is not opened.");
  }
}

// An archive as libtorch's own reader sees it, which is proven to see what the directory says.
class Archive {
 public:
  explicit Archive(std::shared_ptr<ByteSource> bytes) : bytes_(std::move(bytes)), directory_(Directory::read(*bytes_)) {}

  const Directory& directory() const { return directory_; }

  void open() {
    checkSizes(directory_, bytes_->size());
    if (!directory_.find("version") && !directory_.find(".data/version")) throw Unfit("is damaged: its record version is missing.");
    try {
      reader_.emplace(bytes_);
    } catch (const std::exception& error) {
      throw Unfit(std::string("cannot be read as an archive of PyTorch: ") + error.what());
    }
  }

  // Every record, whether libtorch reads it or not. Those beside PyTorch's folder, which it cannot reach, only where
  // nothing has to be inflated.
  void checkSums() {
    std::string buffer(kChunkBytes, '\0');
    for (const Record& record : directory_.records()) {
      const bool isReached = record.name.starts_with(directory_.root());
      if (isReached) requireSameView(record);
      if (record.isDeflated && !isReached) continue;
      const uint32_t sum = record.isDeflated ? sumInflated(record, buffer) : sumStored(record, buffer);
      if (sum != record.crc) {
        throw Unfit("is damaged: the bytes of its record " + record.name + " are not those that were written. Copy or download it again.");
      }
    }
  }

  std::string text(const Record& record) {
    if (!record.isDeflated) return bytes_->readText(record.data, record.size);
    std::string text(record.size, '\0');
    if (record.size > 0) inflate([&] { reader_->getRecord(inFolder(record), text.data(), text.size()); }, record);
    return text;
  }

 private:
  std::string inFolder(const Record& record) const { return record.name.substr(directory_.root().size()); }

  template <typename Work>
  static void inflate(Work work, const Record& record) {
    try {
      work();
    } catch (const std::exception& error) {
      throw Unfit("is damaged: its record " + record.name + " cannot be unpacked. Copy or download it again.");
    }
  }

  void requireSameView(const Record& record) {
    uint64_t offset = 0, size = 0;
    inflate([&] {
      offset = reader_->getRecordOffset(inFolder(record));
      size = reader_->getRecordSize(inFolder(record));
    }, record);
    if (offset != record.data || size != record.size) {
      throw Unfit("can be read in two ways: its record " + record.name + " is in two places. It is not opened.");
    }
  }

  uint32_t sumStored(const Record& record, std::string& buffer) const {
    uint32_t sum = 0;
    for (uint64_t done = 0; done < record.size;) {
      const size_t count = std::min<uint64_t>(buffer.size(), record.size - done);
      bytes_->readAll(record.data + done, buffer.data(), count);
      sum = crc32(buffer.data(), count, sum);
      done += count;
    }
    return sum;
  }

  uint32_t sumInflated(const Record& record, std::string& buffer) {
    uint32_t sum = 0;
    inflate([&] {
      auto chunks = reader_->createChunkReaderIter(inFolder(record), record.size, buffer.size());
      for (uint64_t done = 0; done < record.size;) {
        const size_t count = chunks.next(buffer.data());
        if (count == 0) throw Unfit("");
        sum = crc32(buffer.data(), count, sum);
        done += count;
      }
    }, record);
    return sum;
  }

  std::shared_ptr<ByteSource> bytes_;
  Directory directory_;
  std::optional<PyTorchStreamReader> reader_;
};

void checkPickle(const std::string& text, const Directory& directory, const std::string& folder) {
  const Pickle pickle = Pickle::read(text, Dialect::libtorch);
  pickle.requireShallow(kPickleDepth, kMostReferred);
  checkTensors(pickle, directory, folder);
}

// Files of PyTorch 1.0 and 1.1 have their structure as JSON.
void checkLegacyModel(const std::string& json) {
  size_t depth = 0;
  bool isText = false;
  for (size_t at = 0; at < json.size(); ++at) {
    if (json[at] == '\\' && isText) ++at;
    else if (json[at] == '"') isText = !isText;
    else if (isText) continue;
    else if (json[at] == '{' || json[at] == '[') ++depth;
    else if ((json[at] == '}' || json[at] == ']') && depth > 0) --depth;
    if (depth > kPickleDepth) throw Unfit("has modules that lie in each other over " + std::to_string(kPickleDepth) + " deep. It is not opened.");
  }
}

// Pickles that libtorch reads: the modules, their constants, and the places in the source, `debug_pkl`.
void checkContent(Archive& archive, ScriptFacts* facts) {
  const Directory& directory = archive.directory();
  for (const Record& record : directory.records()) {
    if (isCode(record)) checkScript(archive.text(record), facts);
    if (record.name.ends_with(".debug_pkl")) checkPickle(archive.text(record), directory, "");
  }
  for (const std::string name : {"data", "constants", "attributes"}) {
    if (const Record* record = directory.find(name + ".pkl")) checkPickle(archive.text(*record), directory, name);
  }
  if (const Record* record = directory.find("model.json")) {
    if (record->size > kCodeBytes) throw Unfit("has " + std::to_string(record->size) + " bytes of structure. It is not opened.");
    checkLegacyModel(archive.text(*record));
  }
}

bool isOpened(const Finding& finding) { return finding.kind == "torchscript" || finding.kind == "checkpoint"; }

void checkArchive(const std::shared_ptr<ByteSource>& bytes, const char* wanted) {
  Finding finding = tellKind(*bytes);
  if (finding.kind == "damaged-zip") throw Unfit(finding.facts.front().second);
  if (finding.kind != wanted) throw WrongKind(std::move(finding));
  Archive archive(bytes);
  archive.open();
  archive.checkSums();
  checkContent(archive, nullptr);
}

}  // namespace

void checkModelFile(const std::shared_ptr<ByteSource>& bytes) { checkArchive(bytes, "torchscript"); }

void checkCheckpointFile(const std::shared_ptr<ByteSource>& bytes) { checkArchive(bytes, "checkpoint"); }

void checkSafeModelFile(const std::shared_ptr<ByteSource>& bytes) {
  const ModelFileFacts facts = inspectModelFile(bytes, "");
  if (facts.finding.kind == "damaged-zip") throw Unfit(facts.finding.facts.front().second);
  if (facts.finding.kind != "torchscript") throw WrongKind(facts.finding);
  if (!facts.damage.empty()) throw Unfit(facts.damage);
  if (!facts.script.restoring.empty()) {
    throw Unfit("would run code of its own when it is opened: __setstate__ of " + *facts.script.restoring.begin() + ". With `safe` it is not.");
  }
  if (!facts.script.nativeClasses.empty()) {
    throw Unfit("has an object of a class in C++, " + *facts.script.nativeClasses.begin() + ", which is made when it is opened. With `safe` it is not.");
  }
  if (!facts.script.reaching.empty()) {
    throw Unfit("has code that could reach files, other processes or memory: " + *facts.script.reaching.begin() + ". With `safe` it is not opened.");
  }
}

void checkPickleFile(const std::shared_ptr<ByteSource>& bytes) {
  Archive archive(bytes);
  archive.open();
  archive.checkSums();
  const Record* record = archive.directory().find("data.pkl");
  if (!record) throw Unfit("has a part without data.pkl.");
  checkPickle(archive.text(*record), archive.directory(), "data");
}

ModelFileFacts inspectModelFile(const std::shared_ptr<ByteSource>& bytes, const std::string& cardName) {
  constexpr size_t kMostListed = 1 << 16;
  ModelFileFacts facts;
  facts.bytes = bytes->size();
  facts.finding = tellKind(*bytes);
  if (!isOpened(facts.finding)) return facts;
  try {
    Archive archive(bytes);
    facts.records = archive.directory().records();
    archive.open();
    archive.checkSums();
    if (const Record* card = cardName.empty() ? nullptr : archive.directory().find("extra/" + cardName)) {
      if (card->size <= kPickleBytes) facts.card = archive.text(*card);
    }
    checkContent(archive, &facts.script);
    if (const Record* record = archive.directory().find("data.pkl")) {
      const std::string text = archive.text(*record);
      facts.content = listModule(Pickle::read(text, Dialect::libtorch), kMostListed);
    }
  } catch (const Unfit& unfit) {
    facts.damage = unfit.what();
  }
  return facts;
}

}  // namespace torchgraft::archive

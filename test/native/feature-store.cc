// Drives a feature store for feature-store.test.ts: commands on standard input, one JSON object for each on standard
// output. Images are numbers; a number gives the key and every byte of the row, so that a wrong byte is seen.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <memory>
#include <sstream>
#include <vector>

#include "../../binding/checksum.h"
#include "../../binding/failure.h"
#include "../../binding/feature_store.h"
#include "../../binding/random.h"

namespace {

using namespace torchgraft;

void fillBytes(uint64_t image, uint64_t salt, uint8_t* bytes, size_t count) {
  const Random random(image, salt, 0);
  for (size_t at = 0; at < count; at += sizeof(double)) {
    const double number = random.uniform(at);
    std::memcpy(bytes + at, &number, std::min(sizeof number, count - at));
  }
}

struct Images {
  std::vector<FeatureKey> keys;
  std::vector<uint8_t> rows;
  Images(uint64_t first, size_t count, size_t rowBytes) : keys(count), rows(count * rowBytes) {
    for (size_t i = 0; i < count; ++i) {
      fillBytes(first + i, 1, keys[i].data(), keys[i].size());
      fillBytes(first + i, 2, rows.data() + i * rowBytes, rowBytes);
    }
  }
};

std::unique_ptr<FeatureStore> store;
FeatureStoreOptions options;

// In `batch` images at a time.
std::string append(uint64_t first, size_t count, size_t batch) {
  size_t stored = 0;
  for (size_t at = 0; at < count; at += batch) {
    const Images images(first + at, std::min(batch, count - at), options.rowBytes);
    for (const int64_t number : store->append(images.keys.data(), images.rows.data(), images.keys.size()))
      stored += number >= 0;
  }
  return "\"stored\":" + std::to_string(stored);
}

// `wrong` counts rows that came without being called damaged and are not what was put in: it must be 0.
std::string read(uint64_t first, size_t count) {
  const size_t rowBytes = static_cast<size_t>(options.rowBytes);
  const Images images(first, count, rowBytes);
  std::vector<int64_t> numbers = store->find(images.keys.data(), count);
  std::vector<size_t> positions;
  std::vector<int64_t> found;
  for (size_t i = 0; i < count; ++i) {
    if (numbers[i] < 0) continue;
    positions.push_back(i);
    found.push_back(numbers[i]);
  }
  std::vector<uint8_t> out(found.size() * rowBytes, 0xA5);
  const std::vector<size_t> damaged = store->read(found.data(), found.size(), out.data());
  size_t wrong = 0;
  size_t next = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    const bool isDamaged = next < damaged.size() && damaged[next] == i;
    const uint8_t* expected = images.rows.data() + positions[i] * rowBytes;
    if (isDamaged) ++next;
    else wrong += std::memcmp(out.data() + i * rowBytes, expected, rowBytes) != 0;
  }
  std::ostringstream json;
  json << "\"found\":" << found.size() << ",\"damaged\":" << damaged.size() << ",\"wrong\":" << wrong
       << ",\"good\":" << found.size() - damaged.size() - wrong;
  return json.str();
}

std::string state() {
  std::ostringstream json;
  json << "\"rows\":" << store->rows() << ",\"fileSize\":" << store->fileSize()
       << ",\"memorySize\":" << store->memorySize() << ",\"problem\":\"" << store->problem() << '"';
  return json.str();
}

std::string run(const std::string& command, std::istringstream& words) {
  uint64_t first = 0;
  size_t count = 0;
  size_t batch = 0;
  if (command == "open") {
    options = {};
    words >> options.path >> options.identity >> options.rowBytes >> options.memoryBytes >> options.fileBytes >>
        options.label;
    if (options.path == "-") options.path.clear();
    store.reset();
    store = std::make_unique<FeatureStore>(options);
    return state();
  }
  if (command == "append" && words >> first >> count >> batch) return append(first, count, batch);
  if (command == "read" && words >> first >> count) return read(first, count);
  // Row numbers that no find() gave.
  if (command == "stray") {
    std::vector<int64_t> numbers{-1, INT64_MIN, INT64_MAX, store->rows()};
    std::vector<uint8_t> out(numbers.size() * static_cast<size_t>(options.rowBytes));
    return "\"damaged\":" + std::to_string(store->read(numbers.data(), numbers.size(), out.data()).size());
  }
  if (command == "huge") return store->append(nullptr, nullptr, SIZE_MAX), "";
  if (command == "state") return state();
  // The file's lock, for as long as this process lives.
  if (command == "lock") {
    const int file = ::open(options.path.c_str(), O_RDWR);
    return "\"locked\":" + std::to_string(::flock(file, LOCK_EX) == 0);
  }
  // No file may grow beyond this: what a full disk looks like to write().
  if (command == "limit" && words >> count) {
    const rlimit limit{count, count};
    return "\"limited\":" + std::to_string(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
  }
  if (command == "checksum") {
    std::string text;
    words >> text;
    if (text == "-") text.clear();
    char hex[17];
    std::snprintf(hex, sizeof hex, "%016llx", static_cast<unsigned long long>(checksum64(text.data(), text.size(), 0)));
    return std::string("\"checksum\":\"") + hex + '"';
  }
  return "\"unknown\":\"" + command + '"';
}

}  // namespace

int main() {
  // As in Node: a file that may not grow is an error of write() and no signal.
  std::signal(SIGXFSZ, SIG_IGN);
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    std::string answer;
    try {
      answer = run(command, words);
    } catch (const Failure& failure) {
      answer = "\"code\":\"" + failure.code + "\",\"message\":\"" + failure.what() + '"';
    }
    std::cout << '{' << answer << '}' << std::endl;
  }
}

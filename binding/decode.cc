#include "decode.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>

#include "errors.h"
#include "failure.h"
#include "jpeg.h"
#include "plain.h"

namespace torchgraft {

namespace {

constexpr int64_t kMaxSide = 8192;
constexpr uintmax_t kMaxFileBytes = uintmax_t{1} << 30;

View readView(const Napi::Value& value) {
  const std::string where = "decodeJpeg: view";
  auto object = readObject(value, where);
  View view{};
  view.side = static_cast<int>(readInteger(object, "side", where, 1, kMaxSide));
  view.squash = readBool(object, "squash", where);
  view.resize = static_cast<int>(readInteger(object, "resize", where, view.squash ? 1 : view.side, kMaxSide));
  const std::string filter = readString(object, "filter", where);
  if (filter != "bilinear" && filter != "bicubic") {
    throw Failure("INVALID_VALUE", where + ".filter is '" + filter + "'. Expected bilinear or bicubic.");
  }
  view.filter = filter == "bicubic" ? Filter::bicubic : Filter::bilinear;
  return view;
}

struct Bytes {
  uint8_t* data = nullptr;
  size_t length = 0;
};

Bytes bytesOf(Napi::Env env, const Napi::Value& value, const char* where, const char* expected) {
  napi_typedarray_type type{};
  Bytes bytes;
  void* data = nullptr;
  if (!value.IsTypedArray() ||
      napi_get_typedarray_info(env, value, &type, &bytes.length, &data, nullptr, nullptr) != napi_ok ||
      type != napi_uint8_array) {
    throw Failure("INVALID_TYPE", std::string(where) + " must be " + expected + ".");
  }
  bytes.data = static_cast<uint8_t*>(data);
  if (!bytes.data) bytes.length = 0;
  return bytes;
}

// The whole of a JPEG file; of any other file the first bytes, or nothing.
std::vector<uint8_t> readIfJpeg(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return {};
  const uintmax_t size = std::filesystem::file_size(path, error);
  if (error || size < 3 || size > kMaxFileBytes) return {};
  std::ifstream file(path, std::ios::binary);
  std::vector<uint8_t> bytes(3);
  file.read(reinterpret_cast<char*>(bytes.data()), 3);
  if (!file || bytes[0] != 0xff || bytes[1] != 0xd8) return {};
  bytes.resize(size);
  file.read(reinterpret_cast<char*>(bytes.data() + 3), static_cast<std::streamsize>(size - 3));
  bytes.resize(3 + static_cast<size_t>(file.gcount()));
  return bytes;
}

class Decoding : public Napi::AsyncWorker {
 public:
  Decoding(Napi::Env env, const View& view, const Napi::Value& target, size_t offset)
      : Napi::AsyncWorker(env, "torchgraft.decodeJpeg"),
        promise_(Napi::Promise::Deferred::New(env)),
        view_(view),
        target_(Napi::Persistent(target.As<Napi::Object>())),
        offset_(offset) {}

  void readFrom(std::string path) { path_ = std::move(path); }
  void copyFrom(const Bytes& bytes) { bytes_.assign(bytes.data, bytes.data + bytes.length); }
  Napi::Promise promise() const { return promise_.Promise(); }

 protected:
  void Execute() override {
    try {
      if (!path_.empty()) bytes_ = readIfJpeg(path_);
      image_ = decodeJpeg(bytes_.data(), bytes_.size(), view_);
      bytes_ = {};
    } catch (...) {
      error_ = std::make_unique<ErrorParts>(currentError());
    }
  }

  void OnOK() override {
    Napi::Env env = Env();
    try {
      if (error_) throw Failure(error_->code, error_->message, error_->backtrace);
      if (!image_) return promise_.Resolve(env.Undefined());
      // Written here and not in Execute: by then JavaScript could have transferred the buffer away.
      const Bytes target = bytesOf(env, target_.Value(), "decodeJpeg: target", "a Uint8Array");
      if (target.length < offset_ || target.length - offset_ < image_->pixels.size()) {
        throw Failure("SHAPE_MISMATCH", "decodeJpeg: the target has become too small for the image.");
      }
      std::memcpy(target.data + offset_, image_->pixels.data(), image_->pixels.size());
      auto size = Napi::Object::New(env);
      size.Set("width", image_->width);
      size.Set("height", image_->height);
      promise_.Resolve(size);
    } catch (...) {
      promise_.Reject(makeError(env, currentError()));
    }
  }

 private:
  Napi::Promise::Deferred promise_;
  View view_;
  Napi::ObjectReference target_;
  size_t offset_;
  std::string path_;
  std::vector<uint8_t> bytes_;
  std::optional<DecodedImage> image_;
  std::unique_ptr<ErrorParts> error_;
};

}  // namespace

Napi::Value decodeJpegInto(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  try {
    const View view = readView(info[1]);
    if (!info[3].IsNumber()) throw Failure("INVALID_TYPE", "decodeJpeg: offset must be a number.");
    const double offset = info[3].As<Napi::Number>().DoubleValue();
    const Bytes target = bytesOf(env, info[2], "decodeJpeg: target", "a Uint8Array");
    const double needed = 3.0 * view.side * view.side;
    if (!(offset >= 0) || offset + needed > static_cast<double>(target.length)) {
      throw Failure("SHAPE_MISMATCH", "decodeJpeg: the target has no room for the image at this offset.");
    }
    auto decoding = std::make_unique<Decoding>(env, view, info[2], static_cast<size_t>(offset));
    if (info[0].IsString()) {
      decoding->readFrom(pathOf(info[0], "decodeJpeg: source"));
    } else {
      decoding->copyFrom(bytesOf(env, info[0], "decodeJpeg: source", "a path or a Uint8Array"));
    }
    auto promise = decoding->promise();
    // It deletes itself when it is done.
    decoding.release()->Queue();
    return promise;
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw Napi::Error(env, makeError(env, currentError()));
  }
}

}  // namespace torchgraft

#include "decode.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <utility>

#include "errors.h"
#include "failure.h"
#include "jpeg.h"
#include "plain.h"

namespace torchgraft {

namespace {

constexpr int64_t kMaxSide = 8192;
// Of an image. 8192 times as many resized pixels still fit an int.
constexpr int64_t kMaxLength = (1 << 18) - 1;
constexpr int64_t kMaxSafeInteger = (int64_t{1} << 53) - 1;
constexpr uintmax_t kMaxFileBytes = uintmax_t{1} << 30;

View readView(const Napi::Value& value, const std::string& verb) {
  const std::string where = verb + ": view";
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
  if (!isAbsent(object, "maxPixels")) {
    view.maxPixels = static_cast<uint64_t>(readInteger(object, "maxPixels", where, 1, kMaxSafeInteger));
  }
  if (isAbsent(object, "corner")) return view;
  const std::string corner = readString(object, "corner", where);
  const bool known = corner == "top-left" || corner == "top-right" || corner == "bottom-left" || corner == "bottom-right";
  if (!known) throw Failure("INVALID_VALUE", where + ".corner is '" + corner + "'. Expected top-left, top-right, bottom-left or bottom-right.");
  view.across = corner.ends_with("left") ? -1 : 1;
  view.down = corner.starts_with("top") ? -1 : 1;
  return view;
}

struct Bytes {
  uint8_t* data = nullptr;
  size_t length = 0;

  std::vector<uint8_t> copy() const { return {data, data + length}; }
};

Bytes bytesOf(Napi::Env env, const Napi::Value& value, const std::string& where, const char* expected) {
  napi_typedarray_type type{};
  Bytes bytes;
  void* data = nullptr;
  if (!value.IsTypedArray() ||
      napi_get_typedarray_info(env, value, &type, &bytes.length, &data, nullptr, nullptr) != napi_ok ||
      (type != napi_uint8_array && type != napi_uint8_clamped_array)) {
    throw Failure("INVALID_TYPE", where + " must be " + expected + ".");
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

using Work = std::function<std::optional<DecodedImage>()>;

// Works on one of libuv's threads, on copies; then writes the picture into `target`.
class Decoding : public Napi::AsyncWorker {
 public:
  Decoding(Napi::Env env, std::string verb, Work work, const Napi::Value& target, size_t offset)
      : Napi::AsyncWorker(env, "torchgraft.decode"),
        promise_(Napi::Promise::Deferred::New(env)),
        verb_(std::move(verb)),
        work_(std::move(work)),
        target_(Napi::Persistent(target.As<Napi::Object>())),
        offset_(offset) {}

  Napi::Promise promise() const { return promise_.Promise(); }

 protected:
  void Execute() override {
    try {
      image_ = work_();
    } catch (...) {
      error_ = std::make_unique<ErrorParts>(currentError());
    }
    work_ = nullptr;
  }

  void OnOK() override {
    Napi::Env env = Env();
    try {
      if (error_) throw Failure(error_->code, error_->message, error_->backtrace);
      if (!image_) return promise_.Resolve(env.Undefined());
      // Written here and not in Execute: by then JavaScript could have transferred the buffer away.
      const Bytes target = bytesOf(env, target_.Value(), verb_ + ": target", "a Uint8Array");
      if (target.length < offset_ || target.length - offset_ < image_->pixels.size()) {
        throw Failure("SHAPE_MISMATCH", verb_ + ": the target has become too small for the image.");
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
  std::string verb_;
  Work work_;
  Napi::ObjectReference target_;
  size_t offset_;
  std::optional<DecodedImage> image_;
  std::unique_ptr<ErrorParts> error_;
};

Work decodingOf(Napi::Env env, const Napi::Value& source, const View& view) {
  const std::string where = "decodeJpeg: source";
  if (source.IsString()) {
    return [path = pathOf(source, where), view] {
      const auto bytes = readIfJpeg(path);
      return decodeJpeg(bytes.data(), bytes.size(), view);
    };
  }
  return [bytes = bytesOf(env, source, where, "a path or a Uint8Array").copy(), view] {
    return decodeJpeg(bytes.data(), bytes.size(), view);
  };
}

Work resizingOf(Napi::Env env, const Napi::Value& source, const View& view) {
  const std::string where = "resizePixels: image";
  auto object = readObject(source, where);
  const int width = static_cast<int>(readInteger(object, "width", where, 1, kMaxLength));
  const int height = static_cast<int>(readInteger(object, "height", where, 1, kMaxLength));
  const int channels = static_cast<int>(readInteger(object, "channels", where, 1, 4));
  // Read last: a getter above could have detached the buffer.
  const Bytes bytes = bytesOf(env, object.Get("data"), where + ".data", "a Uint8Array");
  if (bytes.length != static_cast<size_t>(width) * height * channels) {
    throw Failure("SHAPE_MISMATCH", where + ".data has " + std::to_string(bytes.length) +
                                        " bytes, not width x height x channels.");
  }
  return [pixels = bytes.copy(), width, height, channels, view]() -> std::optional<DecodedImage> {
    return resizePixels(pixels.data(), width, height, channels, view);
  };
}

Napi::Value start(const Napi::CallbackInfo& info, const std::string& verb,
                  Work (*workOf)(Napi::Env, const Napi::Value&, const View&)) {
  Napi::Env env = info.Env();
  try {
    const View view = readView(info[1], verb);
    if (!info[3].IsNumber()) throw Failure("INVALID_TYPE", verb + ": offset must be a number.");
    const double offset = info[3].As<Napi::Number>().DoubleValue();
    Work work = workOf(env, info[0], view);
    const Bytes target = bytesOf(env, info[2], verb + ": target", "a Uint8Array");
    if (!(offset >= 0) || offset + static_cast<double>(view.bytes()) > static_cast<double>(target.length)) {
      throw Failure("SHAPE_MISMATCH", verb + ": the target has no room for the image at this offset.");
    }
    // It deletes itself when it is done.
    auto* decoding = new Decoding(env, verb, std::move(work), info[2], static_cast<size_t>(offset));
    auto promise = decoding->promise();
    decoding->Queue();
    return promise;
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw Napi::Error(env, makeError(env, currentError()));
  }
}

}  // namespace

Napi::Value decodeJpegInto(const Napi::CallbackInfo& info) { return start(info, "decodeJpeg", decodingOf); }

Napi::Value resizePixelsInto(const Napi::CallbackInfo& info) { return start(info, "resizePixels", resizingOf); }

}  // namespace torchgraft

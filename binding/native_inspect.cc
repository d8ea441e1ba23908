#include "native_inspect.h"

#include <memory>

#include "alone.h"
#include "archive/model_file.h"
#include "failure.h"
#include "file_or_bytes.h"
#include "model.h"

namespace torchgraft {

namespace {

template <class Items, class Write>
Napi::Array writeList(Napi::Env env, const Items& items, Write write) {
  auto array = Napi::Array::New(env);
  uint32_t count = 0;
  for (const auto& item : items) array.Set(count++, write(item));
  return array;
}

template <class Items>
Napi::Array writeNames(Napi::Env env, const Items& names) {
  return writeList(env, names, [&](const std::string& name) { return Napi::String::New(env, name); });
}

Napi::Object writeFacts(Napi::Env env, const archive::Finding& finding) {
  auto object = Napi::Object::New(env);
  object.Set("kind", finding.kind);
  for (const auto& [name, value] : finding.facts) object.Set(name, value);
  return object;
}

Napi::Object writeTensorShape(Napi::Env env, const archive::NamedShape& tensor) {
  auto object = Napi::Object::New(env);
  object.Set("name", tensor.name);
  object.Set("dtype", tensor.dtype);
  object.Set("shape", writeList(env, tensor.shape, [&](int64_t side) { return Napi::Number::New(env, static_cast<double>(side)); }));
  return object;
}

Napi::Object writeRecord(Napi::Env env, const archive::Record& record) {
  auto object = Napi::Object::New(env);
  object.Set("name", record.name);
  object.Set("bytes", static_cast<double>(record.size));
  object.Set("storedBytes", static_cast<double>(record.stored));
  return object;
}

Napi::Value writeFile(Napi::Env env, const archive::ModelFileFacts& file) {
  auto object = Napi::Object::New(env);
  object.Set("facts", writeFacts(env, file.finding));
  object.Set("bytes", static_cast<double>(file.bytes));
  object.Set("damage", file.damage);
  object.Set("card", file.card);
  object.Set("records", writeList(env, file.records, [&](const archive::Record& record) { return writeRecord(env, record); }));
  object.Set("tensors", writeList(env, file.content.tensors, [&](const archive::NamedShape& tensor) { return writeTensorShape(env, tensor); }));
  object.Set("classes", writeNames(env, file.content.classes));
  object.Set("operators", writeNames(env, file.script.operators));
  object.Set("nativeClasses", writeNames(env, file.script.nativeClasses));
  object.Set("restoring", writeNames(env, file.script.restoring));
  object.Set("reaching", writeNames(env, file.script.reaching));
  return object;
}

}  // namespace

Napi::Value inspectFile(const Napi::CallbackInfo& info) {
  return runAlone(info, [&]() -> Work {
    return [source = readSource(info[0], "inspectFile: source")]() -> Finish {
      try {
        auto file = std::make_shared<archive::ModelFileFacts>(archive::inspectModelFile(source.open(), kExtraFile));
        return [file](Napi::Env env) { return writeFile(env, *file); };
      } catch (const archive::Unfit& unfit) {
        throw Failure("MODEL_UNREADABLE", source.name() + " " + unfit.what());
      }
    };
  });
}

}  // namespace torchgraft

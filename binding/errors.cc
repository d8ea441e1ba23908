#include "errors.h"

#include <c10/util/Exception.h>

#include <new>

#include "failure.h"
#include "forward_failure.h"

namespace torchgraft {

namespace {

bool mentionsMemory(const std::string& text) {
  return text.find("not enough memory") != std::string::npos || text.find("out of memory") != std::string::npos;
}

// Of a failure within TorchScript, such as a loss of one's own, what was raised.
std::string inOwnWords(const std::string& words) {
  return words.find("Traceback of TorchScript") == std::string::npos ? words : reasonOf(words) + ".";
}

}  // namespace

ErrorParts currentError() {
  try {
    throw;
  } catch (const Failure& failure) {
    return {failure.code, failure.what(), failure.detail, failure.facts};
  } catch (const Napi::Error& error) {
    return {"NATIVE", error.Message(), {}};
  } catch (const c10::Error& error) {
    const std::string words = inOwnWords(error.what_without_backtrace());
    if (mentionsMemory(words)) {
      return {"OUT_OF_MEMORY", "Memory ran out in libtorch. Use a smaller batch or image size. " + words, error.what()};
    }
    return {"NATIVE", words, error.what()};
  } catch (const std::bad_alloc&) {
    return {"OUT_OF_MEMORY", "Memory ran out. Use a smaller batch or image size.", {}};
  } catch (const std::exception& error) {
    return {"NATIVE", inOwnWords(error.what()), error.what()};
  } catch (...) {
    return {"NATIVE", "libtorch threw something that is not an exception.", {}};
  }
}

Napi::Value makeError(Napi::Env env, const ErrorParts& parts) {
  Napi::Object error = Napi::Error::New(env, parts.message).Value();
  // Defined, not set: a setter on Error.prototype must not swallow the code.
  auto define = [&](Napi::Object& object, const char* name, const Napi::Value& value) {
    object.DefineProperty(Napi::PropertyDescriptor::Value(name, value, napi_default_jsproperty));
  };
  define(error, "code", Napi::String::New(env, parts.code));
  if (!parts.backtrace.empty()) define(error, "backtrace", Napi::String::New(env, parts.backtrace));
  if (!parts.facts.empty()) {
    Napi::Object facts = Napi::Object::New(env);
    for (const auto& [name, value] : parts.facts) define(facts, name.c_str(), Napi::String::New(env, value));
    define(error, "facts", facts);
  }
  return error;
}

}  // namespace torchgraft

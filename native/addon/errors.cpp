#include "addon/errors.h"

#include <new>

namespace flashvsr::addon {

Napi::Error ToJs(Napi::Env env, const Error& error) {
  Napi::Error made = Napi::Error::New(env, error.message());
  Napi::Object value = made.Value();
  value.Set("name", "NativeError");
  value.Set("code", error.code());
  value.Set("scope", std::string(ErrorScopeName(error.scope())));
  value.Set("remedy", error.remedy());
  return made;
}

Error ToNative(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return Error("engine.memory", ErrorScope::Stream, "the machine has no memory left for this request");
  } catch (const std::exception& error) {
    return Error("internal", ErrorScope::Engine, std::string("the engine failed: ") + error.what());
  }
}

}  // namespace flashvsr::addon

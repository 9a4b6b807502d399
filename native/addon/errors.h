// Native errors as JavaScript errors with all their parts: { message, code, scope, remedy }, name "NativeError".
// server/upscalers/flashvsr/binding.ts turns them into AppErrors.
#pragma once

#include <napi.h>

#include <exception>
#include <string>
#include <utility>

#include "common/error.h"

namespace flashvsr::addon {

Napi::Error ToJs(Napi::Env env, const Error& error);
// Any exception of native code; what is not a flashvsr::Error (out of memory, a system error) gets a fitting code.
Error ToNative(const std::exception_ptr& thrown);

// Runs `call`, turning native exceptions into JavaScript ones.
template <typename Call>
auto Guard(Napi::Env env, Call&& call) {
  try {
    return std::forward<Call>(call)();
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw ToJs(env, ToNative(std::current_exception()));
  }
}

}  // namespace flashvsr::addon

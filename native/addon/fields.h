// One table per native struct, {name in JavaScript, member}, used to read it and to write it (the TypeScript side is
// server/upscalers/flashvsr/native-types.ts). A wrong type is a defect, because options.ts has validated: TypeError.
#pragma once

#include <napi.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <vector>

namespace flashvsr::addon {

template <typename Struct, typename Member>
struct Field {
  const char* name;
  Member Struct::*member;
};
template <typename Struct, typename Member>
Field(const char*, Member Struct::*) -> Field<Struct, Member>;  // clang before 17 does not deduce aggregates

// The table of a struct: a tuple of Field. Specialised in options.cpp.
template <typename Struct>
inline constexpr std::nullptr_t kFields = nullptr;
template <typename T>
concept HasFields = !std::is_null_pointer_v<std::remove_cvref_t<decltype(kFields<T>)>>;

// The names of an enumeration: an array of {name, value}. Specialised in options.cpp.
template <typename Enum>
inline constexpr std::nullptr_t kNames = nullptr;

[[noreturn]] inline void FailOption(Napi::Env env, const char* name, const std::string& wanted) {
  throw Napi::TypeError::New(env, std::string("native option ") + name + " must be " + wanted);
}

// ---- from JavaScript
// ---------------------------------------------------------------------------------------------------

template <typename T>
void Read(const Napi::Value& from, const char* name, T& to);

template <typename Struct>
void ReadFields(const Napi::Object& from, Struct& to) {
  std::apply(
      [&](const auto&... field) {
        const auto read = [&](const auto& one) {
          const Napi::Value value = from.Get(one.name);
          if (!value.IsUndefined() && !value.IsNull())
            Read(value, one.name, to.*one.member);  // absent: the default stays
        };
        (read(field), ...);
      },
      kFields<Struct>);
}

template <typename Enum>
Enum ReadName(const Napi::Value& from, const char* name) {
  const std::string text = from.IsString() ? from.As<Napi::String>().Utf8Value() : "";
  std::string known;
  for (std::size_t i = 0; i < kNames<Enum>.size(); ++i) {
    if (text == kNames<Enum>[i].first) return kNames<Enum>[i].second;
    known += (i == 0 ? "" : i + 1 < kNames<Enum>.size() ? ", " : " or ") + std::string(kNames<Enum>[i].first);
  }
  FailOption(from.Env(), name, known);
}

// What JavaScript holds exactly and T can hold; which values make sense was checked in options.ts.
template <typename T>
T ReadInteger(const Napi::Value& from, const char* name) {
  const double value =
      from.IsNumber() ? from.As<Napi::Number>().DoubleValue() : std::numeric_limits<double>::quiet_NaN();
  const double most = std::min(9007199254740992.0, static_cast<double>(std::numeric_limits<T>::max()));
  const double least = std::is_signed_v<T> ? -most : 0.0;
  if (!(value >= least && value <= most) || value != std::floor(value))
    FailOption(from.Env(), name, "an integer in its range");
  return static_cast<T>(value);
}

template <typename T>
inline constexpr bool kIsOptional = false;
template <typename T>
inline constexpr bool kIsOptional<std::optional<T>> = true;
template <typename T>
inline constexpr bool kIsShared = false;
template <typename T>
inline constexpr bool kIsShared<std::shared_ptr<const T>> = true;

template <typename T>
void Read(const Napi::Value& from, const char* name, T& to) {
  if constexpr (kIsOptional<T>) {
    Read(from, name, to.emplace());
  } else if constexpr (kIsShared<T>) {
    auto value = std::make_shared<std::remove_const_t<typename T::element_type>>();
    Read(from, name, *value);
    to = std::move(value);
  } else if constexpr (HasFields<T>) {
    if (!from.IsObject()) FailOption(from.Env(), name, "an object");
    ReadFields(from.As<Napi::Object>(), to);
  } else if constexpr (std::is_enum_v<T>) {
    to = ReadName<T>(from, name);
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (!from.IsString()) FailOption(from.Env(), name, "text");
    to = from.As<Napi::String>().Utf8Value();
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!from.IsBoolean()) FailOption(from.Env(), name, "true or false");
    to = from.As<Napi::Boolean>().Value();
  } else if constexpr (std::is_floating_point_v<T>) {
    if (!from.IsNumber()) FailOption(from.Env(), name, "a number");
    to = from.As<Napi::Number>().DoubleValue();
  } else {
    to = ReadInteger<T>(from, name);
  }
}

// ---- to JavaScript
// -----------------------------------------------------------------------------------------------------

template <typename Struct>
Napi::Object WriteFields(Napi::Env env, const Struct& from);

template <typename Enum>
const char* NameOf(Enum value) {
  for (const auto& [name, known] : kNames<Enum>)
    if (known == value) return name;
  return "";
}

template <typename T>
Napi::Value Write(Napi::Env env, const T& from) {
  if constexpr (HasFields<T>) {
    return WriteFields(env, from);
  } else if constexpr (std::is_enum_v<T>) {
    return Napi::String::New(env, NameOf(from));
  } else if constexpr (std::is_same_v<T, std::string>) {
    return Napi::String::New(env, from);
  } else if constexpr (std::is_same_v<T, bool>) {
    return Napi::Boolean::New(env, from);
  } else if constexpr (std::is_arithmetic_v<T>) {
    return Napi::Number::New(env, static_cast<double>(from));  // sizes and counts are far below 2^53
  } else {
    Napi::Array list = Napi::Array::New(env);
    std::uint32_t index = 0;
    for (const auto& value : from) list.Set(index++, Write(env, value));
    return list;
  }
}

template <typename Struct>
Napi::Object WriteFields(Napi::Env env, const Struct& from) {
  Napi::Object object = Napi::Object::New(env);
  std::apply([&](const auto&... field) { (object.Set(field.name, Write(env, from.*field.member)), ...); },
             kFields<Struct>);
  return object;
}

}  // namespace flashvsr::addon

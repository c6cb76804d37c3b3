#include "common/llm/gguf.h"

#include <cstring>
#include <limits>
#include <optional>

#include "absl/strings/str_format.h"

#include "common/base/status_macros.h"

namespace llm {
namespace {

template <typename T>
T Load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

// Reads element `at` of elements of a fixed size. nullopt if it does not fit the wanted type.
std::optional<int64_t> ReadInt(GgufType type, const std::byte* data) {
  switch (type) {
    case GgufType::kUint8:
      return Load<uint8_t>(data);
    case GgufType::kInt8:
      return Load<int8_t>(data);
    case GgufType::kUint16:
      return Load<uint16_t>(data);
    case GgufType::kInt16:
      return Load<int16_t>(data);
    case GgufType::kUint32:
      return Load<uint32_t>(data);
    case GgufType::kInt32:
      return Load<int32_t>(data);
    case GgufType::kInt64:
      return Load<int64_t>(data);
    case GgufType::kUint64: {
      const auto value = Load<uint64_t>(data);
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
      return static_cast<int64_t>(value);
    }
    default:
      return std::nullopt;
  }
}

std::optional<uint64_t> ReadUint(GgufType type, const std::byte* data) {
  if (type == GgufType::kUint64) return Load<uint64_t>(data);
  const std::optional<int64_t> value = ReadInt(type, data);
  if (!value || *value < 0) return std::nullopt;
  return static_cast<uint64_t>(*value);
}

std::optional<double> ReadFloat(GgufType type, const std::byte* data) {
  if (type == GgufType::kFloat32) return Load<float>(data);
  if (type == GgufType::kFloat64) return Load<double>(data);
  return std::nullopt;
}

std::optional<bool> ReadBool(GgufType type, const std::byte* data) {
  if (type != GgufType::kBool) return std::nullopt;
  return Load<uint8_t>(data) != 0;
}

std::optional<std::string_view> ReadString(GgufType type, const std::byte* data) {
  if (type != GgufType::kString) return std::nullopt;
  return std::string_view(reinterpret_cast<const char*>(data) + 8, Load<uint64_t>(data));
}

size_t SizeInFile(GgufType type, const std::byte* data) {
  switch (type) {
    case GgufType::kUint8:
    case GgufType::kInt8:
    case GgufType::kBool:
      return 1;
    case GgufType::kUint16:
    case GgufType::kInt16:
      return 2;
    case GgufType::kUint32:
    case GgufType::kInt32:
    case GgufType::kFloat32:
      return 4;
    case GgufType::kString:
      return 8 + Load<uint64_t>(data);
    default:
      return 8;
  }
}

template <typename T>
absl::StatusOr<T> Or(absl::StatusOr<T> result, T otherwise) {
  if (absl::IsNotFound(result.status())) return otherwise;
  return result;
}

}  // namespace

std::string_view GgufTypeName(GgufType type) {
  constexpr std::array<std::string_view, 13> kNames = {
      "uint8",   "int8",   "uint16", "int16",  "uint32", "int32",  "float32",
      "boolean", "string", "array",  "uint64", "int64",  "float64"};
  return kNames.at(static_cast<size_t>(type));
}

absl::Status GgufFile::Error(std::string_view key, std::string_view what) const {
  return absl::InvalidArgumentError(absl::StrFormat("%s: key %s: %s", path_, key, what));
}

absl::StatusOr<GgufFile::Value> GgufFile::Find(std::string_view key, bool is_array,
                                               std::string_view expected) const {
  const auto found = values_.find(key);
  if (found == values_.end()) {
    return absl::NotFoundError(absl::StrFormat("%s: key %s is missing", path_, key));
  }
  if (found->second.is_array != is_array) {
    return Error(key, absl::StrFormat("%s expected, found %s", expected,
                                      is_array ? GgufTypeName(found->second.type) : "an array"));
  }
  return found->second;
}

template <typename T, typename Read>
absl::StatusOr<T> GgufFile::GetOne(std::string_view key, std::string_view expected,
                                   Read read) const {
  ASSIGN_OR_RETURN(const Value value, Find(key, false, expected));
  const std::optional<T> result = read(value.type, value.data);
  if (!result) {
    return Error(key, absl::StrFormat("%s expected, found %s", expected, GgufTypeName(value.type)));
  }
  return *result;
}

template <typename T, typename Read>
absl::StatusOr<std::vector<T>> GgufFile::GetMany(std::string_view key, std::string_view expected,
                                                 Read read) const {
  ASSIGN_OR_RETURN(const Value value, Find(key, true, expected));
  std::vector<T> results;
  results.reserve(value.count);  // Open() has seen that so many elements are in the file.
  const std::byte* at = value.data;
  for (uint64_t i = 0; i < value.count; ++i) {
    const std::optional<T> result = read(value.type, at);
    if (!result) {
      return Error(key, absl::StrFormat("%s expected, element %d is %s", expected, i,
                                        GgufTypeName(value.type)));
    }
    results.push_back(*result);
    at += SizeInFile(value.type, at);
  }
  return results;
}

absl::StatusOr<uint64_t> GgufFile::GetUint(std::string_view key) const {
  return GetOne<uint64_t>(key, "an integer of 0 or more", ReadUint);
}
absl::StatusOr<int64_t> GgufFile::GetInt(std::string_view key) const {
  return GetOne<int64_t>(key, "an integer", ReadInt);
}
absl::StatusOr<double> GgufFile::GetFloat(std::string_view key) const {
  return GetOne<double>(key, "a float", ReadFloat);
}
absl::StatusOr<bool> GgufFile::GetBool(std::string_view key) const {
  return GetOne<bool>(key, "a boolean", ReadBool);
}
absl::StatusOr<std::string_view> GgufFile::GetString(std::string_view key) const {
  return GetOne<std::string_view>(key, "a string", ReadString);
}
absl::StatusOr<std::vector<int64_t>> GgufFile::GetInts(std::string_view key) const {
  return GetMany<int64_t>(key, "an array of integers", ReadInt);
}
absl::StatusOr<std::vector<double>> GgufFile::GetFloats(std::string_view key) const {
  return GetMany<double>(key, "an array of floats", ReadFloat);
}
absl::StatusOr<std::vector<bool>> GgufFile::GetBools(std::string_view key) const {
  return GetMany<bool>(key, "an array of booleans", ReadBool);
}
absl::StatusOr<std::vector<std::string_view>> GgufFile::GetStrings(std::string_view key) const {
  return GetMany<std::string_view>(key, "an array of strings", ReadString);
}

absl::StatusOr<uint64_t> GgufFile::GetUint(std::string_view key, uint64_t otherwise) const {
  return Or(GetUint(key), otherwise);
}
absl::StatusOr<int64_t> GgufFile::GetInt(std::string_view key, int64_t otherwise) const {
  return Or(GetInt(key), otherwise);
}
absl::StatusOr<double> GgufFile::GetFloat(std::string_view key, double otherwise) const {
  return Or(GetFloat(key), otherwise);
}
absl::StatusOr<bool> GgufFile::GetBool(std::string_view key, bool otherwise) const {
  return Or(GetBool(key), otherwise);
}
absl::StatusOr<std::string_view> GgufFile::GetString(std::string_view key,
                                                     std::string_view otherwise) const {
  return Or(GetString(key), otherwise);
}

const GgufType* GgufFile::TypeOf(std::string_view key) const {
  const auto found = values_.find(key);
  return found == values_.end() ? nullptr : &found->second.type;
}

const GgufTensor* GgufFile::FindTensor(std::string_view name) const {
  const auto found = tensors_by_name_.find(name);
  return found == tensors_by_name_.end() ? nullptr : &tensors_[found->second];
}

}  // namespace llm

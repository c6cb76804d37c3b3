// GGUF files: the metadata and the tensors of a model in one file.
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "common/compute/dtype.h"

namespace llm {

enum class GgufType : uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64,
};

// "uint32", "string", …
std::string_view GgufTypeName(GgufType type);

struct GgufTensor {
  std::string_view name;
  compute::DType type = compute::DType::kF32;
  int rank = 0;                               // Dimensions in use, 1 to 4.
  std::array<uint64_t, 4> shape{1, 1, 1, 1};  // Fastest first: {columns, rows, …}.
  uint64_t offset = 0;                        // Of `data`, in the file.
  std::span<const std::byte> data;
};

// One GGUF file, version 2 or 3, mapped read-only. Everything in it is checked by Open(), before
// memory is taken for it, so that what the getters return always lies inside the file.
//
// All views point into the mapping and live as long as the GgufFile.
//
// Thread-safe: nothing changes after Open().
class GgufFile {
 public:
  // kNotFound or kPermissionDenied; kInvalidArgument for a file that is not sound, naming the file
  // and the key or tensor.
  static absl::StatusOr<std::unique_ptr<GgufFile>> Open(const std::string& path);

  ~GgufFile();
  GgufFile(const GgufFile&) = delete;
  GgufFile& operator=(const GgufFile&) = delete;

  const std::string& path() const { return path_; }
  uint32_t version() const { return version_; }
  std::span<const std::byte> bytes() const { return bytes_; }

  // In the file's order.
  const std::vector<std::string_view>& keys() const { return keys_; }
  bool Has(std::string_view key) const { return values_.contains(key); }

  // Getters. kNotFound if the key is absent, kInvalidArgument if it has another type or does not
  // fit; the message names file, key and type. Integers of every width are one type here, floats
  // too.
  absl::StatusOr<uint64_t> GetUint(std::string_view key) const;
  absl::StatusOr<int64_t> GetInt(std::string_view key) const;
  absl::StatusOr<double> GetFloat(std::string_view key) const;
  absl::StatusOr<bool> GetBool(std::string_view key) const;
  absl::StatusOr<std::string_view> GetString(std::string_view key) const;
  absl::StatusOr<std::vector<int64_t>> GetInts(std::string_view key) const;
  absl::StatusOr<std::vector<double>> GetFloats(std::string_view key) const;
  absl::StatusOr<std::vector<bool>> GetBools(std::string_view key) const;
  absl::StatusOr<std::vector<std::string_view>> GetStrings(std::string_view key) const;

  // The same, but `otherwise` if the key is absent.
  absl::StatusOr<uint64_t> GetUint(std::string_view key, uint64_t otherwise) const;
  absl::StatusOr<int64_t> GetInt(std::string_view key, int64_t otherwise) const;
  absl::StatusOr<double> GetFloat(std::string_view key, double otherwise) const;
  absl::StatusOr<bool> GetBool(std::string_view key, bool otherwise) const;
  absl::StatusOr<std::string_view> GetString(std::string_view key,
                                             std::string_view otherwise) const;

  // Null for an array whose elements are arrays, and for a key that is absent.
  const GgufType* TypeOf(std::string_view key) const;

  // In the file's order.
  const std::vector<GgufTensor>& tensors() const { return tensors_; }

  // Null if there is none of that name.
  const GgufTensor* FindTensor(std::string_view name) const;

 private:
  class Parser;

  // A value as it lies in the file. Of an array: its elements.
  struct Value {
    GgufType type = GgufType::kUint8;
    bool is_array = false;
    uint64_t count = 1;
    const std::byte* data = nullptr;
  };

  GgufFile() = default;

  absl::Status Error(std::string_view key, std::string_view what) const;
  absl::StatusOr<Value> Find(std::string_view key, bool is_array, std::string_view expected) const;
  template <typename T, typename Read>
  absl::StatusOr<T> GetOne(std::string_view key, std::string_view expected, Read read) const;
  template <typename T, typename Read>
  absl::StatusOr<std::vector<T>> GetMany(std::string_view key, std::string_view expected,
                                         Read read) const;

  std::string path_;
  std::span<const std::byte> bytes_;
  uint32_t version_ = 0;
  std::vector<std::string_view> keys_;
  std::unordered_map<std::string_view, Value> values_;
  std::vector<GgufTensor> tensors_;
  std::unordered_map<std::string_view, size_t> tensors_by_name_;  // Index in tensors_.
};

}  // namespace llm

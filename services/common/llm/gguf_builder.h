// Writes small GGUF files, sound and unsound ones, for tests.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/compute/dtype.h"
#include "common/llm/gguf.h"

namespace llm {

// Collects keys and tensors; Build() gives the bytes of the file. Checks nothing, so that tests can
// write what a reader must refuse: the public counts override what was added.
class GgufBuilder {
 public:
  template <typename T>
  static void Append(std::string& out, T value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  static void AppendString(std::string& out, std::string_view text) {
    Append<uint64_t>(out, text.size());
    out += text;
  }

  // `value`: the bytes after the type.
  GgufBuilder& AddRaw(std::string_view key, uint32_t type, std::string_view value) {
    AppendString(keys_, key);
    Append(keys_, type);
    keys_ += value;
    ++key_count;
    return *this;
  }
  template <typename T>
  GgufBuilder& Add(std::string_view key, GgufType type, T value) {
    std::string bytes;
    Append(bytes, value);
    return AddRaw(key, static_cast<uint32_t>(type), bytes);
  }
  GgufBuilder& AddUint(std::string_view key, uint32_t value) {
    return Add(key, GgufType::kUint32, value);
  }
  GgufBuilder& AddFloat(std::string_view key, float value) {
    return Add(key, GgufType::kFloat32, value);
  }
  GgufBuilder& AddString(std::string_view key, std::string_view value) {
    std::string bytes;
    AppendString(bytes, value);
    return AddRaw(key, static_cast<uint32_t>(GgufType::kString), bytes);
  }
  // `elements`: their bytes, one after the other.
  GgufBuilder& AddArray(std::string_view key, GgufType type, uint64_t count,
                        std::string_view elements) {
    std::string bytes;
    Append(bytes, static_cast<uint32_t>(type));
    Append(bytes, count);
    bytes += elements;
    return AddRaw(key, static_cast<uint32_t>(GgufType::kArray), bytes);
  }

  // At any offset, with any type; adds no data.
  GgufBuilder& AddTensorInfo(std::string_view name, const std::vector<uint64_t>& shape,
                             uint32_t type, uint64_t offset) {
    AppendString(tensors_, name);
    Append(tensors_, static_cast<uint32_t>(shape.size()));
    for (const uint64_t dimension : shape) Append(tensors_, dimension);
    Append(tensors_, type);
    Append(tensors_, offset);
    ++tensor_count;
    return *this;
  }
  // Behind the tensors added before.
  GgufBuilder& AddTensor(std::string_view name, const std::vector<uint64_t>& shape,
                         compute::DType type, std::string_view data) {
    AddTensorInfo(name, shape, static_cast<uint32_t>(type), data_.size());
    return AddData(data);
  }
  GgufBuilder& AddData(std::string_view data) {
    data_ += data;
    data_.resize((data_.size() + alignment - 1) / alignment * alignment);
    return *this;
  }

  std::string Build() const {
    std::string file = magic;
    Append(file, version);
    Append(file, tensor_count);
    Append(file, key_count);
    file += keys_;
    file += tensors_;
    file.resize((file.size() + alignment - 1) / alignment * alignment);
    return file + data_;
  }

  std::string magic = "GGUF";
  uint32_t version = 3;
  uint64_t tensor_count = 0;
  uint64_t key_count = 0;
  uint64_t alignment = 32;

 private:
  std::string keys_;
  std::string tensors_;
  std::string data_;
};

}  // namespace llm

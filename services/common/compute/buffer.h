// Memory that is taken once and kept: weights, the KV cache, activations.

#pragma once

#include <cstddef>
#include <utility>

#include "absl/status/statusor.h"

namespace compute {

// A range of zeroed memory, aligned to 2 MiB when it is that large, else to 64 bytes, and backed by
// huge pages where the system gives them: streaming through 4 KiB pages costs about 5 %.
//
// Pages are taken at their first touch, so whoever fills a part owns where it lies.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(mapped_, other.mapped_);
    std::swap(mapped_bytes_, other.mapped_bytes_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Buffer();

  // kResourceExhausted if the system refuses.
  static absl::StatusOr<Buffer> Allocate(size_t bytes);

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }

  template <typename T>
  T* as(size_t offset_bytes = 0) const {
    return reinterpret_cast<T*>(data_ + offset_bytes);
  }

 private:
  std::byte* data_ = nullptr;
  void* mapped_ = nullptr;
  size_t mapped_bytes_ = 0;
  size_t bytes_ = 0;
};

}  // namespace compute

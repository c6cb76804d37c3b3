#include "common/compute/buffer.h"

#include <cerrno>
#include <cstdint>

#include <sys/mman.h>

#include "absl/strings/str_format.h"

#include "common/base/files.h"

namespace compute {
namespace {

constexpr size_t kHugePage = 2 << 20;
constexpr size_t kSlack = 4096;  // Kernels prefetch a little behind the end.

}  // namespace

absl::StatusOr<Buffer> Buffer::Allocate(size_t bytes) {
  Buffer buffer;
  if (bytes == 0) return buffer;
  const bool huge = bytes >= kHugePage;
  const size_t mapped = bytes + kSlack + (huge ? kHugePage : 0);
  void* const memory =
      mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "%d bytes of memory: %s", bytes, base::ErrnoStatus(errno, "mmap").message()));
  }
  buffer.mapped_ = memory;
  buffer.mapped_bytes_ = mapped;
  buffer.bytes_ = bytes;
  auto address = reinterpret_cast<uintptr_t>(memory);
  if (huge) {
    address = (address + kHugePage - 1) / kHugePage * kHugePage;
    madvise(reinterpret_cast<void*>(address), bytes, MADV_HUGEPAGE);  // Without: only slower.
  }
  buffer.data_ = reinterpret_cast<std::byte*>(address);
  return buffer;
}

Buffer::~Buffer() {
  if (mapped_ != nullptr) munmap(mapped_, mapped_bytes_);
}

}  // namespace compute

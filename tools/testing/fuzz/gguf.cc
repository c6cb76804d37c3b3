// A model file: everything the reader hands out must lie inside it.

#include "common/llm/gguf.h"

#include <cstdint>
#include <string>

#include <sys/mman.h>
#include <unistd.h>

#include "common/llm/model_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const int file = memfd_create("fuzz.gguf", 0);
  static const std::string path = "/proc/self/fd/" + std::to_string(file);
  if (ftruncate(file, 0) != 0 || pwrite(file, data, size, 0) != static_cast<ssize_t>(size))
    return 0;
  const auto opened = llm::GgufFile::Open(path);
  if (!opened.ok()) return 0;
  unsigned sum = 0;
  for (const llm::GgufTensor& tensor : (*opened)->tensors()) {
    if (!tensor.data.empty()) sum += static_cast<unsigned>(tensor.data.back());
  }
  for (const std::string_view key : (*opened)->keys()) {
    sum += static_cast<unsigned>((*opened)->GetStrings(key).ok());
    sum += static_cast<unsigned>((*opened)->GetInts(key).ok());
    sum += static_cast<unsigned>((*opened)->GetFloats(key).ok());
  }
  static volatile unsigned sink = 0;
  sink = sink + sum;
  return 0;
}

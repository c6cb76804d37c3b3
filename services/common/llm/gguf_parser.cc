// GgufFile::Open(): every count, length and offset is checked against the file before it is used.

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_format.h"

#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/llm/gguf.h"

namespace llm {
namespace {

constexpr size_t kNameBytesMax = 4096;  // Keys and names of tensors. The format says 65535 and 64.
constexpr int kArrayDepthMax = 4;
constexpr uint64_t kAlignmentMax = 1 << 20;
constexpr uint64_t kKeyBytesMin = 8 + 1 + 4 + 1;             // Name of one letter, type, one byte.
constexpr uint64_t kTensorBytesMin = 8 + 1 + 4 + 8 + 4 + 8;  // One letter, one dimension.

// Bytes of a value of fixed size; 0 for strings and arrays.
size_t FixedBytes(GgufType type) {
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
    case GgufType::kUint64:
    case GgufType::kInt64:
    case GgufType::kFloat64:
      return 8;
    case GgufType::kString:
    case GgufType::kArray:
      return 0;
  }
  return 0;
}

// A name as it may be put into a message: hostile bytes shown as "?", and not too long.
std::string Printable(std::string_view name) {
  std::string result(name.substr(0, 100));
  for (char& c : result) {
    if (c < ' ' || c > '~') c = '?';
  }
  return result;
}

}  // namespace

class GgufFile::Parser {
 public:
  explicit Parser(GgufFile& file) : file_(file) {}

  absl::Status Parse() {
    uint64_t tensors = 0;
    uint64_t keys = 0;
    RETURN_IF_ERROR(ReadHeader(tensors, keys));
    file_.keys_.reserve(keys);
    for (uint64_t i = 0; i < keys; ++i) RETURN_IF_ERROR(ReadKey(i));
    file_.tensors_.reserve(tensors);
    for (uint64_t i = 0; i < tensors; ++i) RETURN_IF_ERROR(ReadTensor(i));
    return PlaceTensors();
  }

 private:
  uint64_t left() const { return file_.bytes_.size() - at_; }
  const std::byte* here() const { return file_.bytes_.data() + at_; }

  absl::Status Error(std::string_view what) const {
    return absl::InvalidArgumentError(absl::StrFormat("%s: %s%s", file_.path_, where_, what));
  }

  template <typename T>
  absl::Status Read(T& value) {
    if (left() < sizeof(T)) return Error("the file ends here, it is cut short");
    std::memcpy(&value, here(), sizeof(T));
    at_ += sizeof(T);
    return absl::OkStatus();
  }

  absl::Status ReadString(std::string_view& text) {
    uint64_t length = 0;
    RETURN_IF_ERROR(Read(length));
    if (length > left()) {
      return Error(absl::StrFormat("a string of %d bytes does not fit the file", length));
    }
    text = std::string_view(reinterpret_cast<const char*>(here()), length);
    at_ += length;
    return absl::OkStatus();
  }

  absl::Status ReadName(std::string_view& name) {
    RETURN_IF_ERROR(ReadString(name));
    if (name.empty()) return Error("the name is empty");
    if (name.size() > kNameBytesMax) {
      return Error(
          absl::StrFormat("a name of %d bytes, the limit is %d", name.size(), kNameBytesMax));
    }
    if (name.find('\0') != std::string_view::npos) return Error("the name has a zero byte in it");
    return absl::OkStatus();
  }

  absl::Status ReadHeader(uint64_t& tensors, uint64_t& keys) {
    std::array<char, 4> magic{};
    RETURN_IF_ERROR(Read(magic));
    if (std::string_view(magic.data(), 4) != "GGUF") {
      return Error("not a GGUF file, it does not begin with GGUF");
    }
    RETURN_IF_ERROR(Read(file_.version_));
    if (file_.version_ != 0 && (file_.version_ & 0xFFFF) == 0) {
      return Error("a big-endian GGUF file cannot be read; convert it to little-endian");
    }
    if (file_.version_ != 2 && file_.version_ != 3) {
      return Error(absl::StrFormat("GGUF version %d cannot be read, only 2 and 3; convert it again",
                                   file_.version_));
    }
    RETURN_IF_ERROR(Read(tensors));
    RETURN_IF_ERROR(Read(keys));
    if (keys > left() / kKeyBytesMin) {
      return Error(absl::StrFormat("%d keys do not fit the file", keys));
    }
    if (tensors > left() / kTensorBytesMin) {
      return Error(absl::StrFormat("%d tensors do not fit the file", tensors));
    }
    return absl::OkStatus();
  }

  absl::Status ReadType(GgufType& type) {
    uint32_t number = 0;
    RETURN_IF_ERROR(Read(number));
    if (number > static_cast<uint32_t>(GgufType::kFloat64)) {
      return Error(absl::StrFormat("value type %d does not exist", number));
    }
    type = static_cast<GgufType>(number);
    return absl::OkStatus();
  }

  absl::Status ReadKey(uint64_t index) {
    where_ = absl::StrFormat("key %d: ", index);
    std::string_view key;
    RETURN_IF_ERROR(ReadName(key));
    where_ = absl::StrFormat("key %s: ", Printable(key));
    Value value;
    RETURN_IF_ERROR(ReadType(value.type));
    if (value.type == GgufType::kArray) {
      RETURN_IF_ERROR(ReadArray(value, 1));
    } else {
      value.data = here();
      RETURN_IF_ERROR(Skip(value.type, 1));
    }
    if (!file_.values_.emplace(key, value).second) return Error("the key is there twice");
    file_.keys_.push_back(key);
    return absl::OkStatus();
  }

  absl::Status ReadArray(Value& value, int depth) {
    if (depth > kArrayDepthMax) {
      return Error(absl::StrFormat("arrays nested more than %d deep", kArrayDepthMax));
    }
    value.is_array = true;
    RETURN_IF_ERROR(ReadType(value.type));
    RETURN_IF_ERROR(Read(value.count));
    value.data = here();
    if (value.type != GgufType::kArray) return Skip(value.type, value.count);
    if (value.count > left() / 12) return TooMany(value.count);
    for (uint64_t i = 0; i < value.count; ++i) {
      Value inner;
      RETURN_IF_ERROR(ReadArray(inner, depth + 1));
    }
    return absl::OkStatus();
  }

  absl::Status TooMany(uint64_t count) const {
    return Error(absl::StrFormat("%d values do not fit the file", count));
  }

  // Checks and passes `count` values that lie one after the other.
  absl::Status Skip(GgufType type, uint64_t count) {
    if (type == GgufType::kString) {
      if (count > left() / 8) return TooMany(count);
      std::string_view text;
      for (uint64_t i = 0; i < count; ++i) RETURN_IF_ERROR(ReadString(text));
      return absl::OkStatus();
    }
    const size_t bytes = FixedBytes(type);
    if (count > left() / bytes) return TooMany(count);
    if (type == GgufType::kBool) RETURN_IF_ERROR(CheckBools(count));
    at_ += count * bytes;
    return absl::OkStatus();
  }

  absl::Status CheckBools(uint64_t count) const {
    const std::span<const std::byte> values(here(), count);
    const auto wrong =
        std::ranges::find_if(values, [](std::byte b) { return std::to_integer<int>(b) > 1; });
    if (wrong == values.end()) return absl::OkStatus();
    return Error(absl::StrFormat("a boolean is %d", std::to_integer<int>(*wrong)));
  }

  absl::Status ReadTensor(uint64_t index) {
    where_ = absl::StrFormat("tensor %d: ", index);
    GgufTensor tensor;
    RETURN_IF_ERROR(ReadName(tensor.name));
    where_ = absl::StrFormat("tensor %s: ", Printable(tensor.name));
    if (!file_.tensors_by_name_.emplace(tensor.name, index).second) {
      return Error("the name is there twice");
    }
    RETURN_IF_ERROR(ReadShape(tensor));
    uint32_t type = 0;
    RETURN_IF_ERROR(Read(type));
    const compute::DTypeFacts* const facts = compute::FindDType(type);
    if (facts == nullptr) return Error(absl::StrFormat("type %d cannot be read", type));
    tensor.type = facts->type;
    RETURN_IF_ERROR(Read(tensor.offset));
    file_.tensors_.push_back(tensor);
    return absl::OkStatus();
  }

  absl::Status ReadShape(GgufTensor& tensor) {
    uint32_t rank = 0;
    RETURN_IF_ERROR(Read(rank));
    if (rank < 1 || rank > 4) return Error(absl::StrFormat("%d dimensions, 1 to 4 allowed", rank));
    tensor.rank = static_cast<int>(rank);
    for (uint32_t i = 0; i < rank; ++i) {
      RETURN_IF_ERROR(Read(tensor.shape.at(i)));
      if (tensor.shape.at(i) == 0) return Error(absl::StrFormat("dimension %d is 0", i));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<uint64_t> Alignment() {
    constexpr std::string_view kKey = "general.alignment";
    where_ = "key general.alignment: ";
    absl::StatusOr<uint64_t> alignment = file_.GetUint(kKey, 32);
    if (!alignment.ok()) return alignment;
    if (*alignment == 0 || (*alignment & (*alignment - 1)) != 0 || *alignment > kAlignmentMax) {
      return Error(absl::StrFormat("%d is not a power of two up to %d", *alignment, kAlignmentMax));
    }
    return alignment;
  }

  // Turns offsets in the data section into spans of the file.
  absl::Status PlaceTensors() {
    ASSIGN_OR_RETURN(const uint64_t alignment, Alignment());
    where_.clear();
    if (file_.tensors_.empty()) return absl::OkStatus();
    const uint64_t begin = (at_ + alignment - 1) / alignment * alignment;
    if (begin > file_.bytes_.size()) return Error("the file ends before its tensors");
    const uint64_t size = file_.bytes_.size() - begin;
    for (GgufTensor& tensor : file_.tensors_) {
      where_ = absl::StrFormat("tensor %s: ", Printable(tensor.name));
      ASSIGN_OR_RETURN(const uint64_t bytes, TensorBytes(tensor));
      if (tensor.offset % alignment != 0) {
        return Error(
            absl::StrFormat("offset %d is not a multiple of %d", tensor.offset, alignment));
      }
      if (tensor.offset > size || bytes > size - tensor.offset) {
        return Error(
            absl::StrFormat("%d bytes at offset %d do not fit the file", bytes, tensor.offset));
      }
      tensor.offset += begin;
      tensor.data = file_.bytes_.subspan(tensor.offset, bytes);
    }
    return CheckOverlaps();
  }

  absl::StatusOr<uint64_t> TensorBytes(const GgufTensor& tensor) const {
    const compute::DTypeFacts& facts = compute::Facts(tensor.type);
    if (tensor.shape[0] % facts.values != 0) {
      return Error(absl::StrFormat("rows of %d values are no whole blocks of %s (%d)",
                                   tensor.shape[0], facts.name, facts.values));
    }
    uint64_t bytes = 0;
    bool overflow = __builtin_mul_overflow(tensor.shape[0] / facts.values,
                                           static_cast<uint64_t>(facts.bytes), &bytes);
    for (int i = 1; i < 4; ++i) {
      overflow = overflow || __builtin_mul_overflow(bytes, tensor.shape.at(i), &bytes);
    }
    if (overflow) return Error("its size is beyond 64 bits");
    return bytes;
  }

  absl::Status CheckOverlaps() {
    std::vector<const GgufTensor*> sorted;
    sorted.reserve(file_.tensors_.size());
    for (const GgufTensor& tensor : file_.tensors_) sorted.push_back(&tensor);
    std::ranges::sort(sorted, {}, [](const GgufTensor* tensor) { return tensor->offset; });
    for (size_t i = 1; i < sorted.size(); ++i) {
      if (sorted[i]->offset < sorted[i - 1]->offset + sorted[i - 1]->data.size()) {
        where_ = absl::StrFormat("tensor %s: ", Printable(sorted[i]->name));
        return Error(absl::StrFormat("it overlaps %s", Printable(sorted[i - 1]->name)));
      }
    }
    return absl::OkStatus();
  }

  GgufFile& file_;
  uint64_t at_ = 0;
  std::string where_;  // "key x: ", for messages.
};

absl::StatusOr<std::unique_ptr<GgufFile>> GgufFile::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return base::ErrnoStatus(errno, absl::StrFormat("open %s", path));
  struct stat info{};
  const bool known = fstat(fd, &info) == 0;
  if (!known || !S_ISREG(info.st_mode) || info.st_size == 0) {
    close(fd);
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: %s", path, known && S_ISREG(info.st_mode) ? "the file is empty" : "not a file"));
  }
  const auto size = static_cast<size_t>(info.st_size);
  void* const mapping = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  const int error = errno;
  close(fd);
  if (mapping == MAP_FAILED) return base::ErrnoStatus(error, absl::StrFormat("map %s", path));

  std::unique_ptr<GgufFile> file(new GgufFile());
  file->path_ = path;
  file->bytes_ = {static_cast<const std::byte*>(mapping), size};
  RETURN_IF_ERROR(Parser(*file).Parse());
  return file;
}

GgufFile::~GgufFile() {
  if (bytes_.empty()) return;
  munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace llm

#include "common/llm/gguf.h"

#include <functional>

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "common/base/files.h"
#include "common/llm/gguf_builder.h"

namespace llm {
namespace {

using compute::DType;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr uint32_t kF32 = 0;
constexpr uint32_t kQ4_0 = 2;
constexpr uint32_t kString = 8;
constexpr uint32_t kArray = 9;

absl::StatusOr<std::unique_ptr<GgufFile>> OpenBytes(std::string_view bytes) {
  const std::string path = testing::TempDir() + "gguf_test_" +
                           testing::UnitTest::GetInstance()->current_test_info()->name() + ".gguf";
  EXPECT_TRUE(base::WriteFileAtomic(path, bytes).ok());
  return GgufFile::Open(path);
}

template <typename T>
std::string Bytes(std::initializer_list<T> values) {
  std::string bytes;
  for (const T value : values) GgufBuilder::Append(bytes, value);
  return bytes;
}

std::string Strings(std::initializer_list<std::string_view> values) {
  std::string bytes;
  for (const std::string_view value : values) GgufBuilder::AppendString(bytes, value);
  return bytes;
}

GgufBuilder Sound() {
  GgufBuilder builder;
  builder.AddString("general.architecture", "llama")
      .Add<uint8_t>("u8", GgufType::kUint8, 200)
      .Add<int8_t>("i8", GgufType::kInt8, -7)
      .Add<uint16_t>("u16", GgufType::kUint16, 65535)
      .Add<int16_t>("i16", GgufType::kInt16, -300)
      .AddUint("u32", 4'000'000'000)
      .Add<int32_t>("i32", GgufType::kInt32, -70'000)
      .Add<uint64_t>("u64", GgufType::kUint64, 1ULL << 63)
      .Add<int64_t>("i64", GgufType::kInt64, -(1LL << 40))
      .AddFloat("f32", 0.5F)
      .Add<double>("f64", GgufType::kFloat64, 0.1)
      .Add<uint8_t>("yes", GgufType::kBool, 1)
      .AddArray("strings", GgufType::kString, 3, Strings({"a", "", "ccc"}))
      .AddArray("ints", GgufType::kInt32, 2, Bytes<int32_t>({1, -2}))
      .AddArray("floats", GgufType::kFloat32, 2, Bytes<float>({1.5F, 2}))
      .AddArray("bools", GgufType::kBool, 2, Bytes<uint8_t>({0, 1}))
      .AddArray("none", GgufType::kUint64, 0, "")
      .AddTensor("a", {3, 2}, DType::kF32, std::string(24, 'a'))
      .AddTensor("b", {64}, DType::kQ4_0, std::string(36, 'b'));
  return builder;
}

TEST(GgufTest, EveryTypeOfValueIsReadBack) {
  const auto file = OpenBytes(Sound().Build());
  ASSERT_TRUE(file.ok()) << file.status();
  const GgufFile& gguf = **file;
  EXPECT_EQ(*gguf.GetString("general.architecture"), "llama");
  EXPECT_EQ(*gguf.GetUint("u8"), 200);
  EXPECT_EQ(*gguf.GetInt("i8"), -7);
  EXPECT_EQ(*gguf.GetUint("u16"), 65535);
  EXPECT_EQ(*gguf.GetInt("i16"), -300);
  EXPECT_EQ(*gguf.GetInt("u32"), 4'000'000'000);
  EXPECT_EQ(*gguf.GetInt("i32"), -70'000);
  EXPECT_EQ(*gguf.GetUint("u64"), 1ULL << 63);
  EXPECT_EQ(*gguf.GetInt("i64"), -(1LL << 40));
  EXPECT_EQ(*gguf.GetFloat("f32"), 0.5);
  EXPECT_EQ(*gguf.GetFloat("f64"), 0.1);
  EXPECT_TRUE(*gguf.GetBool("yes"));
  EXPECT_THAT(*gguf.GetStrings("strings"), ElementsAre("a", "", "ccc"));
  EXPECT_THAT(*gguf.GetInts("ints"), ElementsAre(1, -2));
  EXPECT_THAT(*gguf.GetFloats("floats"), ElementsAre(1.5, 2));
  EXPECT_THAT(*gguf.GetBools("bools"), ElementsAre(false, true));
  EXPECT_TRUE(gguf.GetInts("none")->empty());
  EXPECT_EQ(gguf.keys().size(), 17);
}

TEST(GgufTest, TensorsPointIntoTheFile) {
  const auto file = OpenBytes(Sound().Build());
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ((*file)->tensors().size(), 2);
  const GgufTensor* const b = (*file)->FindTensor("b");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->rank, 1);
  EXPECT_EQ(b->shape[0], 64);
  EXPECT_EQ(b->type, DType::kQ4_0);
  EXPECT_EQ(b->data.size(), 36);
  EXPECT_EQ(std::to_integer<char>(b->data[0]), 'b');
  EXPECT_EQ((*file)->FindTensor("c"), nullptr);
}

TEST(GgufTest, WrongTypeAndAbsentKeyAreToldApart) {
  const auto file = OpenBytes(Sound().Build());
  ASSERT_TRUE(file.ok()) << file.status();
  const GgufFile& gguf = **file;
  EXPECT_EQ(gguf.GetUint("absent").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(*gguf.GetUint("absent", 9), 9);
  EXPECT_EQ(gguf.GetUint("f32", 9).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(gguf.GetUint("i8").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(gguf.GetInt("u64").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(gguf.GetString("ints").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(gguf.GetStrings("ints").status().message(), HasSubstr("key ints: an array of str"));
  EXPECT_THAT(gguf.GetInts("u8").status().message(), HasSubstr("found uint8"));
}

TEST(GgufTest, Version2AndAnotherAlignmentAreRead) {
  GgufBuilder builder;
  builder.version = 2;
  builder.alignment = 64;
  builder.AddUint("general.alignment", 64)
      .AddTensor("a", {1}, DType::kF32, "aaaa")
      .AddTensor("b", {1}, DType::kF32, "bbbb");
  const auto file = OpenBytes(builder.Build());
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->FindTensor("b")->offset % 64, 0);
}

TEST(GgufTest, FileThatIsNotThereOrNoFileIsRefused) {
  EXPECT_EQ(GgufFile::Open("/nonexistent.gguf").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(GgufFile::Open(testing::TempDir()).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(OpenBytes("").status().code(), absl::StatusCode::kInvalidArgument);
}

struct Malformed {
  std::string what;
  std::string bytes;
  std::string message;  // Part of the error.
};

std::string Built(const std::function<void(GgufBuilder&)>& change) {
  GgufBuilder builder = Sound();
  change(builder);
  return builder.Build();
}

std::vector<Malformed> MalformedHeaders() {
  std::vector<Malformed> cases = {
      {"magic", Built([](auto& b) { b.magic = "GGML"; }), "not a GGUF file"},
      {"lower-case magic", Built([](auto& b) { b.magic = "gguf"; }), "not a GGUF file"},
      {"text", "hello, I am no model", "not a GGUF file"},
      {"one byte", "G", "cut short"},
      {"magic alone", "GGUF", "cut short"},
      {"keys beyond the file", Built([](auto& b) { b.key_count = 1'000'000; }), "keys do not fit"},
      {"2^64-1 keys", Built([](auto& b) { b.key_count = ~0ULL; }), "keys do not fit"},
      {"2^64-1 tensors", Built([](auto& b) { b.tensor_count = ~0ULL; }), "tensors do not fit"},
      {"2^60 tensors", Built([](auto& b) { b.tensor_count = 1ULL << 60; }), "tensors do not fit"},
      {"one tensor more", Built([](auto& b) { ++b.tensor_count; }), "tensor 2"},
      {"one key more", Built([](auto& b) { ++b.key_count; }), "fit the file"},
  };
  for (const uint32_t version : {0U, 1U, 4U, 1000U}) {
    cases.push_back({absl::StrFormat("version %d", version),
                     Built([&](auto& b) { b.version = version; }), "version"});
  }
  cases.push_back({"big-endian", Built([](auto& b) { b.version = 3U << 24; }), "big-endian"});
  // Everything up to the data section is needed, so every cut before it shows.
  const std::string whole = Sound().Build();
  for (size_t length = 5; length + 128 < whole.size(); length += 13) {
    cases.push_back({absl::StrFormat("cut at %d", length), whole.substr(0, length), ""});
  }
  cases.push_back({"cut in the last tensor", whole.substr(0, whole.size() - 29), "do not fit"});
  return cases;
}

std::vector<Malformed> MalformedKeys() {
  const auto one = [](std::string_view key, uint32_t type, std::string_view value) {
    return Built([&](GgufBuilder& b) { b.AddRaw(key, type, value); });
  };
  const auto array = [&](uint32_t type, uint64_t count, const std::string& elements) {
    return one("bad", kArray, Bytes<uint32_t>({type}) + Bytes<uint64_t>({count}) + elements);
  };
  std::string deep;
  for (int i = 0; i < 200; ++i) deep += Bytes<uint32_t>({kArray}) + Bytes<uint64_t>({1});
  return {
      {"empty key", one("", 4, "aaaa"), "name is empty"},
      {"key with a zero byte", one(std::string_view("a\0b", 3), 4, "aaaa"), "zero byte"},
      {"key too long", one(std::string(5000, 'k'), 4, "aaaa"), "a name of 5000 bytes"},
      {"key twice", one("u8", 4, "aaaa"), "key u8: the key is there twice"},
      {"type 13", one("bad", 13, "aaaa"), "key bad: value type 13 does not exist"},
      {"type 2^32-1", one("bad", ~0U, "aaaa"), "value type 4294967295"},
      {"boolean 2", one("bad", 7, "\x02"), "a boolean is 2"},
      {"boolean 255 in an array", array(7, 2, "\x01\xFF"), "a boolean is 255"},
      {"string of 2^64-1", one("bad", kString, Bytes<uint64_t>({~0ULL})), "a string of"},
      {"string of 2^40", one("bad", kString, Bytes<uint64_t>({1ULL << 40})), "a string of"},
      {"array of type 99", array(99, 1, "aaaa"), "value type 99"},
      {"2^61 uint64", array(10, 1ULL << 61, ""), "values do not fit"},
      {"2^64-1 uint8", array(0, ~0ULL, ""), "values do not fit"},
      {"2^63 strings", array(kString, 1ULL << 63, ""), "values do not fit"},
      {"string in an array too long", array(kString, 1, Bytes<uint64_t>({1ULL << 50})), "a string"},
      {"2^62 arrays", array(kArray, 1ULL << 62, ""), "values do not fit"},
      {"arrays 200 deep", array(kArray, 1, deep), "nested more than 4 deep"},
      {"alignment 0", Built([](auto& b) { b.AddUint("general.alignment", 0); }), "power of two"},
      {"alignment 48", Built([](auto& b) { b.AddUint("general.alignment", 48); }), "power of two"},
      {"alignment 2^31", Built([](auto& b) { b.AddUint("general.alignment", 1U << 31); }), "power"},
      {"alignment as text", Built([](auto& b) { b.AddString("general.alignment", "32"); }),
       "key general.alignment: an integer"},
      {"alignment -32",
       Built([](auto& b) { b.template Add<int32_t>("general.alignment", GgufType::kInt32, -32); }),
       "general.alignment"},
  };
}

std::vector<Malformed> MalformedTensors() {
  const auto one = [](std::string_view name, const std::vector<uint64_t>& shape, uint32_t type,
                      uint64_t offset) {
    return Built([&](GgufBuilder& b) {
      b.AddTensorInfo(name, shape, type, offset);
      b.AddData(std::string(64, 'x'));
    });
  };
  return {
      {"empty name", one("", {1}, kF32, 96), "name is empty"},
      {"name twice", one("a", {1}, kF32, 96), "tensor a: the name is there twice"},
      {"no dimensions", one("bad", {}, kF32, 96), "0 dimensions"},
      {"five dimensions", one("bad", {1, 1, 1, 1, 1}, kF32, 96), "5 dimensions"},
      {"a dimension of 0", one("bad", {4, 0}, kF32, 96), "dimension 1 is 0"},
      {"first dimension 0", one("bad", {0}, kF32, 96), "dimension 0 is 0"},
      {"product beyond 64 bits", one("bad", {1ULL << 32, 1ULL << 32}, kF32, 96), "beyond 64 bits"},
      {"product wraps to 0", one("bad", {1ULL << 62, 4, 4}, kF32, 96), "beyond 64 bits"},
      {"size wraps to small", one("bad", {(1ULL << 62) + 1}, kF32, 96), "beyond 64 bits"},
      {"half a block", one("bad", {48}, kQ4_0, 96), "no whole blocks of Q4_0"},
      {"type 4", one("bad", {32}, 4, 96), "type 4 cannot be read"},
      {"type 2^31", one("bad", {32}, 1U << 31, 96), "cannot be read"},
      {"offset not aligned", one("bad", {1}, kF32, 97), "not a multiple of 32"},
      {"offset beyond the file", one("bad", {1}, kF32, 1 << 20), "do not fit the file"},
      {"offset 2^64-32", one("bad", {16}, kF32, ~0ULL - 31), "do not fit the file"},
      {"end beyond the file", one("bad", {1000}, kF32, 96), "do not fit the file"},
      {"overlaps another", one("bad", {4}, kF32, 0), "overlaps"},
      {"lies inside another", one("bad", {1}, kF32, 64), "overlaps"},
      {"name with control bytes", one("b\x1B[2J", {5}, kF32, 7), "tensor b?[2J:"},
  };
}

void ExpectRefused(const std::vector<Malformed>& cases) {
  for (const Malformed& bad : cases) {
    SCOPED_TRACE(bad.what);
    const auto file = OpenBytes(bad.bytes);
    ASSERT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument) << file.status();
    const std::string message(file.status().message());
    EXPECT_THAT(message, HasSubstr(bad.message));
    EXPECT_THAT(message, HasSubstr("gguf_test_")) << "the file is not named";
    EXPECT_EQ(message.find('\n'), std::string::npos);
    EXPECT_LT(message.size(), 400);
  }
}

TEST(GgufTest, MalformedHeadersAreRefusedWithTheirReason) { ExpectRefused(MalformedHeaders()); }
TEST(GgufTest, MalformedKeysAreRefusedWithTheirReason) { ExpectRefused(MalformedKeys()); }
TEST(GgufTest, MalformedTensorsAreRefusedWithTheirReason) { ExpectRefused(MalformedTensors()); }

TEST(GgufTest, NoSingleChangedByteCrashesTheReader) {
  const std::string whole = Sound().Build();
  for (size_t at = 0; at < whole.size(); at += 3) {
    for (const char change : {'\x01', '\x80', '\xFF'}) {
      std::string bytes = whole;
      bytes[at] = static_cast<char>(bytes[at] ^ change);
      const auto file = OpenBytes(bytes);
      if (!file.ok()) continue;
      for (const std::string_view key : (*file)->keys()) (void)(*file)->GetStrings(key);
    }
  }
}

}  // namespace
}  // namespace llm

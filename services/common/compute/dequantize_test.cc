#include "common/compute/dequantize.h"

#include <cmath>
#include <map>
#include <vector>

#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/base/files.h"
#include "common/compute/half.h"

namespace compute {
namespace {

std::vector<std::byte> FromHex(std::string_view hex) {
  std::vector<std::byte> bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

const std::map<std::string, DType, std::less<>>& Types() {
  static const auto* const types = [] {
    auto* const by_name = new std::map<std::string, DType, std::less<>>();
    for (uint32_t number = 0; number < 64; ++number) {
      const DTypeFacts* const facts = FindDType(number);
      if (facts != nullptr) (*by_name)[std::string(facts->name)] = facts->type;
    }
    return by_name;
  }();
  return *types;
}

TEST(DequantizeTest, EveryGoldenBlockIsExact) {
  const auto text = base::ReadFile(std::string(KAITO_TEST_DATA) + "/dequant.jsonl");
  ASSERT_TRUE(text.ok()) << text.status();
  std::map<std::string, int> lines;
  size_t begin = 0;
  while (begin < text->size()) {
    const size_t end = text->find('\n', begin);
    const auto line = boost::json::parse(text->substr(begin, end - begin)).as_object();
    begin = end == std::string::npos ? text->size() : end + 1;
    const std::string type(line.at("type").as_string());
    ++lines[type];
    const auto raw = FromHex(std::string(line.at("raw_hex").as_string()));
    const auto wanted = FromHex(std::string(line.at("f32_hex").as_string()));
    const size_t values = wanted.size() / sizeof(float);
    std::vector<float> got(values);
    Dequantize(Types().at(type), raw.data(), static_cast<int64_t>(values), got.data());
    for (size_t i = 0; i < values; ++i) {
      float want = 0;
      std::memcpy(&want, wanted.data() + i * sizeof(float), sizeof(float));
      if (std::isnan(want)) {
        EXPECT_TRUE(std::isnan(got[i])) << type << " value " << i;
      } else {
        EXPECT_EQ(got[i], want) << type << " " << line.at("origin") << " value " << i;
      }
    }
  }
  EXPECT_EQ(lines.size(), 15) << "a type is missing";
}

TEST(HalfTest, EveryHalfGoesToFloatAndBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = HalfToFloat(half);
    if (std::isnan(value)) continue;
    EXPECT_EQ(FloatToHalf(value), half);
  }
}

TEST(HalfTest, FloatsAreRoundedToTheNearestEven) {
  EXPECT_EQ(FloatToHalf(1.0F + 0x1p-11F), 0x3C00);             // Half-way: to even, down.
  EXPECT_EQ(FloatToHalf(1.0F + 0x1p-10F + 0x1p-11F), 0x3C02);  // Half-way: to even, up.
  EXPECT_EQ(FloatToHalf(65519.0F), 0x7BFF);
  EXPECT_EQ(FloatToHalf(65520.0F), 0x7C00);
  EXPECT_EQ(FloatToHalf(-0x1p-25F), 0x8000);
  EXPECT_EQ(FloatToHalf(0x1.8p-25F), 0x0001);
}

}  // namespace
}  // namespace compute

#include "common/net/digest.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace net {
namespace {

using ::testing::MatchesRegex;

TEST(DigestTest, Sha256IsThatOfTheStandard) {
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Sha256("").size(), 32U);
}

TEST(DigestTest, RandomNamesHaveTheirShape) {
  EXPECT_THAT(RandomHex(7), MatchesRegex("[0-9a-f]{7}"));
  EXPECT_NE(RandomHex(32), RandomHex(32));
  EXPECT_THAT(RandomUuid(), MatchesRegex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-"
                                         "[0-9a-f]{12}"));
}

TEST(DigestTest, ConstantTimeComparisonComparesAll) {
  EXPECT_TRUE(EqualInConstantTime("", ""));
  EXPECT_TRUE(EqualInConstantTime("abc", "abc"));
  EXPECT_FALSE(EqualInConstantTime("abc", "abd"));
  EXPECT_FALSE(EqualInConstantTime("abc", "abcd"));
}

}  // namespace
}  // namespace net

#include "common/compute/dtype.h"

#include "gtest/gtest.h"

namespace compute {
namespace {

TEST(DTypeTest, TypesAreFoundByTheirNumberInFiles) {
  ASSERT_NE(FindDType(3), nullptr);
  EXPECT_EQ(FindDType(3)->name, "Q4_1");
  EXPECT_EQ(FindDType(3)->bytes, 20);
  EXPECT_EQ(FindDType(4), nullptr);
  EXPECT_EQ(Facts(DType::kQ6_K).values, 256);
}

}  // namespace
}  // namespace compute

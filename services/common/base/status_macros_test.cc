#include "common/base/status_macros.h"

#include <memory>

#include "gtest/gtest.h"

namespace base {
namespace {

absl::StatusOr<int> Half(int n) {
  if (n % 2 != 0) return absl::InvalidArgumentError("odd");
  return n / 2;
}

absl::StatusOr<int> Quarter(int n) {
  ASSIGN_OR_RETURN(const int half, Half(n));
  ASSIGN_OR_RETURN(const int quarter, Half(half));
  return quarter;
}

TEST(StatusMacrosTest, ValueIsAssignedAndErrorReturned) {
  EXPECT_EQ(*Quarter(8), 2);
  EXPECT_EQ(Quarter(6).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(StatusMacrosTest, MoveOnlyValuesPass) {
  auto make = []() -> absl::StatusOr<std::unique_ptr<int>> { return std::make_unique<int>(3); };
  auto use = [&]() -> absl::StatusOr<int> {
    ASSIGN_OR_RETURN(auto pointer, make());
    return *pointer;
  };
  EXPECT_EQ(*use(), 3);
}

TEST(StatusMacrosTest, AnnotateKeepsCodeAndPayload) {
  absl::Status status = absl::NotFoundError("gone");
  status.SetPayload("kind", absl::Cord("pool"));
  const absl::Status annotated = Annotate(status, "get agent pool gpu1");
  EXPECT_EQ(annotated.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(annotated.message(), "get agent pool gpu1: gone");
  EXPECT_EQ(annotated.GetPayload("kind"), absl::Cord("pool"));
  EXPECT_TRUE(Annotate(absl::OkStatus(), "x").ok());
}

}  // namespace
}  // namespace base

#include "common/base/flags.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace base {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class FlagSetTest : public testing::Test {
 protected:
  FlagSetTest() : flags_("prog", "Does it.") {
    flags_.Add("port", &port_, "TCP port");
    flags_.Add("bind_address", &address_, "address");
    flags_.Add("webhook", &webhook_, "serve the webhook");
    flags_.Add("timeout", &timeout_, "how long");
    flags_.Add("tags", &tags_, "labels");
  }

  std::string Error(const std::vector<std::string>& arguments) {
    return std::string(flags_.Parse(arguments).status().message());
  }

  int port_ = 5000;
  std::string address_ = "127.0.0.1";
  bool webhook_ = true;
  absl::Duration timeout_ = absl::Seconds(1);
  std::vector<std::string> tags_ = {"default"};
  FlagSet flags_;
};

TEST_F(FlagSetTest, DashesAndUnderscoresAreOneSpelling) {
  ASSERT_TRUE(flags_.Parse({"--bind-address=::1", "--port", "80", "-no-webhook"}).ok());
  EXPECT_EQ(address_, "::1");
  EXPECT_EQ(port_, 80);
  EXPECT_FALSE(webhook_);
}

TEST_F(FlagSetTest, WhatIsNotAFlagIsReturnedInOrder) {
  EXPECT_THAT(*flags_.Parse({"a", "--timeout=250ms", "b", "--", "--port"}),
              ElementsAre("a", "b", "--port"));
  EXPECT_EQ(timeout_, absl::Milliseconds(250));
}

TEST_F(FlagSetTest, ListsReplaceTheirDefaultAndGrowWhenRepeated) {
  ASSERT_TRUE(flags_.Parse({"--tags=a,b", "--tags", "c"}).ok());
  EXPECT_THAT(tags_, ElementsAre("a", "b", "c"));
}

TEST_F(FlagSetTest, ErrorsNameTheFlagAndTheRemedy) {
  EXPECT_THAT(Error({"--prot=1"}), HasSubstr("did you mean --port?"));
  EXPECT_THAT(Error({"--port=x"}), HasSubstr("--port: \"x\" is not a whole number"));
  EXPECT_THAT(Error({"--port"}), HasSubstr("needs a value"));
  EXPECT_THAT(Error({"--webhook=perhaps"}), HasSubstr("true or false"));
}

TEST_F(FlagSetTest, FlagsOfReplacedProgramsAreAcceptedAndReported) {
  flags_.AddIgnored("zap-log-level");
  ASSERT_TRUE(flags_.Parse({"--zap-log-level=5", "--zap-log-level", "5", "--port=1"}).ok());
  EXPECT_EQ(port_, 1);
  EXPECT_EQ(flags_.ignored().size(), 2U);
}

TEST_F(FlagSetTest, HelpHasDefaultsAndExamples) {
  flags_.AddExample("prog --port=80");
  EXPECT_THAT(flags_.Help(), HasSubstr("TCP port (default 5000)"));
  EXPECT_THAT(flags_.Help(), HasSubstr("  prog --port=80\n"));
}

}  // namespace
}  // namespace base

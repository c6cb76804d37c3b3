#include "local-cluster/supervisor/state_folder.h"

#include <unistd.h>

#include "gtest/gtest.h"

#include "common/base/files.h"

namespace local_cluster {
namespace {

class StateFolderTest : public testing::Test {
 protected:
  void TearDown() override { ASSERT_TRUE(base::RemoveAll(path_).ok()); }
  const std::string path_ = testing::TempDir() + "state_folder_" +
                            testing::UnitTest::GetInstance()->current_test_info()->name();
};

TEST_F(StateFolderTest, SecondProcessIsToldWhoHasTheFolder) {
  const auto first = StateFolder::Open(path_);
  ASSERT_TRUE(first.ok()) << first.status();
  const absl::Status second = StateFolder::Open(path_).status();
  EXPECT_EQ(second.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(std::string(second.message()).find(std::to_string(getpid())), std::string::npos);
}

TEST_F(StateFolderTest, PortsAndSecretsAreKept) {
  int port = 0;
  std::string secret;
  {
    const auto folder = *StateFolder::Open(path_);
    port = *folder->Port("api");
    secret = *folder->Secret("arm-secret");
    EXPECT_NE(*folder->Port("arm"), port);
    ASSERT_TRUE(folder->SavePorts().ok());
  }
  const auto folder = *StateFolder::Open(path_);
  EXPECT_EQ(*folder->Port("api"), port);
  EXPECT_EQ(*folder->Secret("arm-secret"), secret);
  EXPECT_EQ(secret.size(), 64U);
}

}  // namespace
}  // namespace local_cluster

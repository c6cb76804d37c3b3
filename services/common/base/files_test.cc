#include "common/base/files.h"

#include <sys/stat.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace base {
namespace {

class FilesTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "files_test_" +
              testing::UnitTest::GetInstance()->current_test_info()->name();
    ASSERT_TRUE(RemoveAll(folder_).ok());
    ASSERT_TRUE(CreateDirectories(folder_ + "/a/b").ok());
  }
  void TearDown() override { ASSERT_TRUE(RemoveAll(folder_).ok()); }

  std::string folder_;
};

TEST_F(FilesTest, WrittenFileIsReadBackWithItsModeAndNoRemainders) {
  const std::string path = folder_ + "/a/file";
  ASSERT_TRUE(WriteFileAtomic(path, "one").ok());
  ASSERT_TRUE(WriteFileAtomic(path, "two", 0640).ok());
  EXPECT_EQ(*ReadFile(path), "two");
  struct stat info{};
  stat(path.c_str(), &info);
  EXPECT_EQ(info.st_mode & 0777, 0640U);
  EXPECT_THAT(*ListDirectory(folder_ + "/a"), testing::ElementsAre("b", "file"));
}

TEST_F(FilesTest, FileAboveTheLimitIsRefused) {
  const std::string path = folder_ + "/big";
  ASSERT_TRUE(WriteFileAtomic(path, std::string(101, 'x')).ok());
  EXPECT_TRUE(ReadFile(path, 101).ok());
  EXPECT_EQ(ReadFile(path, 100).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(FilesTest, MissingFileIsNotFoundAndTheMessageNamesIt) {
  const absl::Status status = ReadFile(folder_ + "/none").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("/none"));
}

TEST_F(FilesTest, FolderBelowAFileCannotBeMade) {
  ASSERT_TRUE(WriteFileAtomic(folder_ + "/file", "").ok());
  EXPECT_FALSE(CreateDirectories(folder_ + "/file/x").ok());
}

}  // namespace
}  // namespace base

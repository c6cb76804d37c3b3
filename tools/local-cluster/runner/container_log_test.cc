#include "local-cluster/runner/container_log.h"

#include "gtest/gtest.h"

#include "common/base/files.h"

namespace local_cluster {
namespace {

const absl::Time kTime = absl::FromUnixSeconds(1'700'000'000);

class ContainerLogTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(base::CreateDirectories(folder_).ok()); }
  void TearDown() override { ASSERT_TRUE(base::RemoveAll(folder_).ok()); }

  const std::string folder_ = testing::TempDir() + "container_log_" +
                              testing::UnitTest::GetInstance()->current_test_info()->name();
  const std::string path_ = folder_ + "/0.log";
};

TEST_F(ContainerLogTest, LinesAreReadBackWithAndWithoutTimes) {
  ContainerLog log(path_);
  log.Append("one\ntw", kTime);
  log.Append("o\nthree", kTime);
  log.Finish(kTime);
  EXPECT_EQ(*ReadLog(path_, {}), "one\ntwo\nthree\n");
  EXPECT_EQ(*ReadLog(path_, {.tail_lines = 2}), "two\nthree\n");
  EXPECT_EQ(*ReadLog(path_, {.tail_lines = 0}), "");
  EXPECT_EQ(*ReadLog(path_, {.tail_lines = 1, .timestamps = true}),
            "2023-11-14T22:13:20.000000000Z three\n");
  EXPECT_EQ(*ReadLog(path_, {.limit_bytes = 5}), "one\nt");
  EXPECT_EQ(*ReadLog(path_, {.since = kTime + absl::Seconds(1)}), "");
}

TEST_F(ContainerLogTest, LongLineIsStoredInPartsAndReadAsOne) {
  ContainerLog log(path_);
  const std::string line(40'000, 'x');
  log.Append(line + "\nnext\n", kTime);
  EXPECT_EQ(*ReadLog(path_, {}), line + "\nnext\n");
}

TEST_F(ContainerLogTest, FilesRotateAndTheOldestGoes) {
  ContainerLog log(path_, {.file_bytes_max = 200, .files_max = 3});
  for (int i = 0; i < 40; ++i) log.Append("line " + std::to_string(i) + "\n", kTime);
  const std::string text = *ReadLog(path_, {});
  EXPECT_TRUE(text.ends_with("line 38\nline 39\n")) << text;
  EXPECT_EQ(text.find("line 0\n"), std::string::npos);
  EXPECT_FALSE(base::FileExists(path_ + ".3"));
}

TEST_F(ContainerLogTest, SubscriberSeesNewLinesUntilItGoes) {
  ContainerLog log(path_);
  log.Append("before\n", kTime);
  std::string seen;
  log.Subscribe({}, [&](std::string_view lines) {
    seen += lines;
    return seen.size() < 12;
  });
  log.Append("after\n", kTime);
  log.Append("again\n", kTime);
  log.Append("gone\n", kTime);
  EXPECT_EQ(seen, "after\nagain\n");
}

}  // namespace
}  // namespace local_cluster

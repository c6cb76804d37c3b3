#include "local-cluster/apiserver/storage/file_log.h"

#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "boost/json.hpp"
#include "common/base/files.h"

namespace local_cluster {
namespace {

class FileLogTest : public testing::Test {
 protected:
  FileLogTest() : folder_(testing::TempDir() + "file_log_test") { (void)base::RemoveAll(folder_); }
  ~FileLogTest() override { (void)base::RemoveAll(folder_); }

  absl::StatusOr<OpenedLog> Open() {
    return OpenFileLog({.folder = folder_, .sync = SyncMode::kNever});
  }

  void Write(int count) {
    auto opened = Open();
    ASSERT_TRUE(opened.ok()) << opened.status();
    for (int i = 1; i <= count; ++i) {
      LogRecord record{{"/pods", "default", "p" + std::to_string(i)},
                       static_cast<uint64_t>(i),
                       std::make_shared<const boost::json::value>(boost::json::object{{"n", i}})};
      ASSERT_TRUE(opened->log->Append({record}).ok());
    }
  }

  std::string path() const { return folder_ + "/wal.log"; }
  const std::string folder_;
};

TEST_F(FileLogTest, WhatWasWrittenIsFoundAgain) {
  Write(10);
  const auto opened = Open();
  ASSERT_TRUE(opened.ok());
  ASSERT_EQ(opened->records.size(), 10U);
  EXPECT_EQ(opened->records[9].key.name, "p10");
  EXPECT_FALSE(opened->tail_cut);
}

TEST_F(FileLogTest, CutAtEveryByteItStartsWithTheWholeRecords) {
  Write(5);
  const std::string whole = base::ReadFile(path()).value();
  for (size_t size = 0; size < whole.size(); ++size) {
    ASSERT_TRUE(base::WriteFileAtomic(path(), whole.substr(0, size)).ok());
    const auto opened = Open();
    ASSERT_TRUE(opened.ok()) << size << opened.status();
    EXPECT_LT(opened->records.size(), 5U);
    for (size_t i = 0; i < opened->records.size(); ++i) {
      EXPECT_EQ(opened->records[i].revision, i + 1);
    }
  }
}

TEST_F(FileLogTest, OneFlippedBitAnywhereIsDamage) {
  Write(5);
  const std::string whole = base::ReadFile(path()).value();
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string flipped = whole;
    flipped[at] = static_cast<char>(flipped[at] ^ 4);
    ASSERT_TRUE(base::WriteFileAtomic(path(), flipped).ok());
    EXPECT_EQ(Open().status().code(), absl::StatusCode::kDataLoss) << at;
  }
}

TEST_F(FileLogTest, ASecondProcessIsRefused) {
  const auto first = Open();
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(Open().status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace local_cluster

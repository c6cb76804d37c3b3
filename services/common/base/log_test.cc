#include "common/base/log.h"

#include "gtest/gtest.h"

namespace base {
namespace {

const absl::Time kTime = absl::FromUnixNanos(1'700'000'000'123'456'789);

TEST(LogTest, JsonLineHasTypedFieldsAndEscapedText) {
  EXPECT_EQ(FormatLogLine(LogFormat::kJson, LogLevel::kInfo, "prog", kTime, "started",
                          {{"port", 80}, {"path", "a\"b\n"}, {"ok", true}}),
            "{\"ts\":\"2023-11-14T22:13:20.123456789Z\",\"level\":\"info\",\"msg\":\"started\","
            "\"logger\":\"prog\",\"port\":80,\"path\":\"a\\\"b\\n\",\"ok\":true}\n");
}

TEST(LogTest, ControlCharactersCannotForgeALine) {
  const std::string line = FormatLogLine(LogFormat::kText, LogLevel::kError, "", kTime, "refused",
                                         {{"name", "x\n12:00 info fine"}});
  EXPECT_EQ(line.find('\n'), line.size() - 1);
}

TEST(LogTest, StatusIsWrittenWithItsCode) {
  const std::string line =
      FormatLogLine(LogFormat::kJson, LogLevel::kError, "", kTime, "reconcile failed",
                    {{"error", absl::NotFoundError("no pool")}});
  EXPECT_NE(line.find("\"error\":\"NOT_FOUND: no pool\""), std::string::npos);
}

}  // namespace
}  // namespace base

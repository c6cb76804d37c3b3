// The log of a process: one line per change of state or decision, on stderr.
//
//   base::LogInfo("node claim created", {{"workspace", key.ToString()}, {"instance_type", name}});
//
// The message is constant, what varies is a field. Thread-safe; a line is never torn.

#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace base {

enum class LogLevel { kDebug, kInfo, kWarning, kError };
enum class LogFormat { kText, kJson };

struct LogOptions {
  LogLevel level = LogLevel::kInfo;
  LogFormat format = LogFormat::kJson;
  std::string logger;  // The process, as field "logger".
};

// Call once in main(), before threads start.
void InitLog(const LogOptions& options);

void SetLogLevel(LogLevel level);

// "debug", "info", "warning", "error"; anything else is kInfo.
LogLevel ParseLogLevel(std::string_view text);

// One value, already as text; `quoted` says that it is a string in JSON.
struct LogValue {
  // NOLINTBEGIN(google-explicit-constructor): call sites write {"key", value}.
  LogValue(std::string_view value) : text(value) {}
  LogValue(const std::string& value) : text(value) {}
  LogValue(const char* value) : text(value) {}
  LogValue(bool value) : text(value ? "true" : "false"), quoted(false) {}
  LogValue(std::integral auto value) : text(std::to_string(value)), quoted(false) {}
  LogValue(double value);
  LogValue(const absl::Status& value);
  LogValue(absl::Duration value);
  // NOLINTEND(google-explicit-constructor)

  std::string text;
  bool quoted = true;
};

struct LogField {
  std::string_view key;
  LogValue value;
};

using LogFields = std::initializer_list<LogField>;

void LogDebug(std::string_view message, LogFields fields = {});
void LogInfo(std::string_view message, LogFields fields = {});
void LogWarning(std::string_view message, LogFields fields = {});
void LogError(std::string_view message, LogFields fields = {});

// The line as it would be written, for tests.
std::string FormatLogLine(LogFormat format, LogLevel level, std::string_view logger,
                          absl::Time time, std::string_view message, LogFields fields);

}  // namespace base

#include "common/base/log.h"

#include <atomic>

#include <unistd.h>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

namespace base {
namespace {

struct LogState {
  std::atomic<LogLevel> level = LogLevel::kInfo;
  LogFormat format = LogFormat::kJson;
  std::string logger;
};

LogState& State() {
  static LogState* const state = new LogState();
  return *state;
}

std::string_view LevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kError:
      return "error";
  }
  return "info";
}

void AppendQuoted(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += absl::StrFormat("\\u%04x", c);
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

void Write(LogLevel level, std::string_view message, LogFields fields) {
  const LogState& state = State();
  if (level < state.level.load(std::memory_order_relaxed)) return;
  const std::string line =
      FormatLogLine(state.format, level, state.logger, absl::Now(), message, fields);
  // One write() per line, so that lines of several threads do not mix.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace

LogValue::LogValue(double value) : text(absl::StrFormat("%.6g", value)), quoted(false) {
  if (text.find_first_of("ni") != std::string::npos) quoted = true;  // nan, inf: not JSON.
}

LogValue::LogValue(const absl::Status& value) : text(value.ToString()) {}

LogValue::LogValue(absl::Duration value) : text(absl::FormatDuration(value)) {}

void InitLog(const LogOptions& options) {
  LogState& state = State();
  state.level = options.level;
  state.format = options.format;
  state.logger = options.logger;
}

void SetLogLevel(LogLevel level) { State().level = level; }

LogLevel ParseLogLevel(std::string_view text) {
  if (text == "debug") return LogLevel::kDebug;
  if (text == "warning") return LogLevel::kWarning;
  if (text == "error") return LogLevel::kError;
  return LogLevel::kInfo;
}

std::string FormatLogLine(LogFormat format, LogLevel level, std::string_view logger,
                          absl::Time time, std::string_view message, LogFields fields) {
  if (format == LogFormat::kText) {
    std::string line =
        absl::StrFormat("%s %-7s %s", absl::FormatTime("%H:%M:%E3S", time, absl::LocalTimeZone()),
                        LevelName(level), message);
    for (const LogField& field : fields) {
      line += absl::StrFormat("  %s=", field.key);
      if (field.value.text.find_first_of(" \n\t\"") == std::string::npos) {
        line += field.value.text;
      } else {
        AppendQuoted(line, field.value.text);
      }
    }
    line += '\n';
    return line;
  }
  std::string line = absl::StrFormat(
      "{\"ts\":\"%s\",\"level\":\"%s\",\"msg\":",
      absl::FormatTime("%Y-%m-%dT%H:%M:%E9SZ", time, absl::UTCTimeZone()), LevelName(level));
  AppendQuoted(line, message);
  if (!logger.empty()) {
    line += ",\"logger\":";
    AppendQuoted(line, logger);
  }
  for (const LogField& field : fields) {
    line += ',';
    AppendQuoted(line, field.key);
    line += ':';
    if (field.value.quoted) {
      AppendQuoted(line, field.value.text);
    } else {
      line += field.value.text;
    }
  }
  line += "}\n";
  return line;
}

void LogDebug(std::string_view message, LogFields fields) {
  Write(LogLevel::kDebug, message, fields);
}
void LogInfo(std::string_view message, LogFields fields) {
  Write(LogLevel::kInfo, message, fields);
}
void LogWarning(std::string_view message, LogFields fields) {
  Write(LogLevel::kWarning, message, fields);
}
void LogError(std::string_view message, LogFields fields) {
  Write(LogLevel::kError, message, fields);
}

}  // namespace base

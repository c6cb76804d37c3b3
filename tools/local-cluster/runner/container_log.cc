#include "local-cluster/runner/container_log.h"

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_format.h"

#include "common/base/files.h"
#include "common/base/log.h"

namespace local_cluster {
namespace {

constexpr size_t kLineBytesMax = 16 << 10;  // Longer lines are stored in parts, as containerd does.

std::string FileOf(const std::string& path, int age) {
  return age == 0 ? path : absl::StrFormat("%s.%d", path, age);
}

struct StoredLine {
  std::string_view time;
  std::string_view text;
  bool complete = true;
};

std::optional<StoredLine> ParseLine(std::string_view line) {
  const size_t first = line.find(' ');
  const size_t second = first == std::string_view::npos ? first : line.find(' ', first + 1);
  if (second == std::string_view::npos || line.size() < second + 3) return std::nullopt;
  return StoredLine{.time = line.substr(0, first),
                    .text = line.substr(second + 3),
                    .complete = line[second + 1] == 'F'};
}

bool IsAfter(std::string_view stored_time, absl::Time since) {
  absl::Time time;
  std::string error;
  if (!absl::ParseTime(absl::RFC3339_full, std::string(stored_time), &time, &error)) return true;
  return time >= since;
}

// The start of the last `count` lines.
std::string_view LastLines(std::string_view text, int64_t count) {
  if (count <= 0) return {};
  size_t position = text.size();
  if (position > 0 && text[position - 1] == '\n') --position;
  for (int64_t i = 0; i < count; ++i) {
    if (position == 0) return text;
    const size_t newline = text.rfind('\n', position - 1);
    if (newline == std::string_view::npos) return text;
    position = newline;
  }
  return text.substr(position + 1);
}

}  // namespace

ContainerLog::ContainerLog(std::string path, LogLimits limits)
    : path_(std::move(path)), limits_(limits) {
  fd_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd_ < 0) {
    base::LogWarning("log not opened", {{"error", base::ErrnoStatus(errno, path_)}});
    return;
  }
  struct stat info{};
  if (fstat(fd_, &info) == 0) bytes_ = info.st_size;
}

ContainerLog::~ContainerLog() {
  if (fd_ >= 0) close(fd_);
}

void ContainerLog::Append(std::string_view output, absl::Time now) {
  batch_.clear();
  while (!output.empty()) {
    const size_t newline = output.find('\n');
    const bool complete = newline != std::string_view::npos;
    const std::string_view piece = output.substr(0, newline);
    output.remove_prefix(complete ? newline + 1 : output.size());
    partial_ += piece;
    while (partial_.size() > kLineBytesMax) {
      WriteLine(std::string_view(partial_).substr(0, kLineBytesMax), false, now);
      partial_.erase(0, kLineBytesMax);
    }
    if (complete) {
      WriteLine(partial_, true, now);
      partial_.clear();
    }
  }
  if (batch_.empty()) return;
  if (fd_ >= 0 && write(fd_, batch_.data(), batch_.size()) < 0 && errno != ENOSPC) {
    base::LogWarning("log not written", {{"error", base::ErrnoStatus(errno, path_)}});
  }
  bytes_ += static_cast<int64_t>(batch_.size());
  std::erase_if(subscribers_, [this](const auto& entry) {
    const std::string lines = FilterLines(batch_, entry.first);
    return !lines.empty() && !entry.second(lines);
  });
  if (bytes_ >= limits_.file_bytes_max) Rotate();
}

void ContainerLog::Finish(absl::Time now) {
  if (!partial_.empty()) Append("\n", now);
  subscribers_.clear();
}

void ContainerLog::Subscribe(const LogFilter& filter, Subscriber subscriber) {
  LogFilter following = filter;
  following.tail_lines.reset();
  subscribers_.emplace_back(following, std::move(subscriber));
}

void ContainerLog::WriteLine(std::string_view line, bool complete, absl::Time now) {
  batch_ += absl::FormatTime("%Y-%m-%dT%H:%M:%E9SZ", now, absl::UTCTimeZone());
  batch_ += complete ? " stdout F " : " stdout P ";
  batch_ += line;
  batch_ += '\n';
}

void ContainerLog::Rotate() {
  for (int age = limits_.files_max - 1; age > 0; --age) {
    rename(FileOf(path_, age - 1).c_str(), FileOf(path_, age).c_str());
  }
  if (fd_ >= 0) close(fd_);
  fd_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
  bytes_ = 0;
}

std::string FilterLines(std::string_view stored, const LogFilter& filter) {
  if (filter.tail_lines) stored = LastLines(stored, *filter.tail_lines);
  std::string out;
  bool in_line = false;  // After a part of a long line.
  for (size_t begin = 0; begin < stored.size();) {
    const size_t end = std::min(stored.find('\n', begin), stored.size());
    const std::optional<StoredLine> line = ParseLine(stored.substr(begin, end - begin));
    begin = end + 1;
    if (!line || (filter.since && !IsAfter(line->time, *filter.since))) continue;
    if (filter.timestamps && !in_line) {
      out += line->time;
      out += ' ';
    }
    out += line->text;
    if (line->complete) out += '\n';
    in_line = !line->complete;
  }
  if (filter.limit_bytes &&
      out.size() > static_cast<size_t>(std::max<int64_t>(0, *filter.limit_bytes))) {
    out.resize(std::max<int64_t>(0, *filter.limit_bytes));
  }
  return out;
}

absl::StatusOr<std::string> ReadLog(const std::string& path, const LogFilter& filter) {
  std::vector<std::string> files;  // Newest first.
  int64_t lines = 0;
  for (int age = 0; base::FileExists(FileOf(path, age)); ++age) {
    absl::StatusOr<std::string> content = base::ReadFile(FileOf(path, age), 256 << 20);
    if (!content.ok()) return content.status();
    lines += std::ranges::count(*content, '\n');
    files.push_back(std::move(*content));
    if (filter.tail_lines && lines >= *filter.tail_lines) break;
  }
  if (files.empty()) return absl::NotFoundError(absl::StrFormat("no log at %s", path));
  std::string stored;
  for (auto file = files.rbegin(); file != files.rend(); ++file) stored += *file;
  return FilterLines(stored, filter);
}

std::string LogTail(const std::string& path, int lines, size_t bytes) {
  absl::StatusOr<std::string> text = ReadLog(path, {.tail_lines = lines});
  if (!text.ok()) return "";
  if (text->size() > bytes) text->erase(0, text->size() - bytes);
  return *text;
}

}  // namespace local_cluster

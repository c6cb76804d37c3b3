// The log files of container runs.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace local_cluster {

struct LogLimits {
  int64_t file_bytes_max = 10 << 20;
  int files_max = 5;  // Of one run: PATH, PATH.1 (older) …
};

// What a reader wants to see: the parameters of `kubectl logs`.
struct LogFilter {
  std::optional<int64_t> tail_lines;
  std::optional<absl::Time> since;
  std::optional<int64_t> limit_bytes;
  bool timestamps = false;
};

// Writes one run's output, line by line with the time: "2024-01-02T03:04:05.678901234Z stdout F
// text". Owned by one thread.
class ContainerLog {
 public:
  using Subscriber = std::function<bool(std::string_view lines)>;  // False: it has gone.

  ContainerLog(std::string path, LogLimits limits = {});
  ~ContainerLog();

  void Append(std::string_view output, absl::Time now);
  // Writes what is left of a last line without newline; tells subscribers that it is over by
  // dropping them.
  void Finish(absl::Time now);

  // `subscriber` gets the lines written from now on, filtered.
  void Subscribe(const LogFilter& filter, Subscriber subscriber);

  const std::string& path() const { return path_; }

 private:
  void WriteLine(std::string_view line, bool complete, absl::Time now);
  void Rotate();

  const std::string path_;
  const LogLimits limits_;
  int fd_ = -1;
  int64_t bytes_ = 0;
  std::string partial_;
  std::string batch_;  // Lines of this Append().
  std::vector<std::pair<LogFilter, Subscriber>> subscribers_;
};

// Everything in the files of one run that passes the filter. kNotFound when there is none.
absl::StatusOr<std::string> ReadLog(const std::string& path, const LogFilter& filter);

// The last `lines` lines, at most `bytes` bytes: a termination message.
std::string LogTail(const std::string& path, int lines, size_t bytes);

// Lines as stored → as asked for.
std::string FilterLines(std::string_view stored, const LogFilter& filter);

}  // namespace local_cluster

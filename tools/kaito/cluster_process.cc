#include "kaito/cluster_process.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

#include "boost/json.hpp"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/kube/json.h"

namespace kaito {
namespace {

constexpr size_t kLineBytesMax = 64 << 10;
constexpr uint64_t kTailBytes = 64 << 10;

// What posix_spawn needs, freed in every case.
struct SpawnPlan {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  SpawnPlan() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnPlan() {
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
  }
};

}  // namespace

absl::StatusOr<std::unique_ptr<ChildProcess>> ChildProcess::Start(
    const std::vector<std::string>& command, const std::string& stderr_path, bool new_session) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return base::ErrnoStatus(errno, "pipe");
  SpawnPlan plan;
  posix_spawn_file_actions_addopen(&plan.actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&plan.actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&plan.actions, STDERR_FILENO, stderr_path.c_str(),
                                   O_WRONLY | O_CREAT | O_APPEND, 0600);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&plan.attributes, &none);
  posix_spawnattr_setflags(
      &plan.attributes,
      static_cast<short>(POSIX_SPAWN_SETSIGMASK |
                         (new_session ? POSIX_SPAWN_SETSID : POSIX_SPAWN_SETPGROUP)));
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (const std::string& argument : command)
    arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  pid_t pid = 0;
  const int error = posix_spawn(&pid, command[0].c_str(), &plan.actions, &plan.attributes,
                                arguments.data(), environ);
  close(ends[1]);
  if (error != 0) {
    close(ends[0]);
    return base::ErrnoStatus(error, absl::StrFormat("run %s", command[0]));
  }
  return std::unique_ptr<ChildProcess>(new ChildProcess(pid, ends[0]));
}

ChildProcess::~ChildProcess() {
  if (output_ >= 0) close(output_);
}

std::optional<std::string> ChildProcess::ReadLine(absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  while (true) {
    const size_t end = buffer_.find('\n');
    if (end != std::string::npos) {
      std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      return line;
    }
    const int64_t left = std::max<int64_t>(absl::ToInt64Milliseconds(deadline - absl::Now()), 0);
    pollfd poller{.fd = output_, .events = POLLIN, .revents = 0};  // fd -1: only waits.
    if (poll(&poller, 1, static_cast<int>(left)) <= 0 || output_ < 0) return std::nullopt;
    char bytes[4096];
    const ssize_t count = read(output_, bytes, sizeof(bytes));
    if (count <= 0) {
      close(std::exchange(output_, -1));
      return std::nullopt;
    }
    if (buffer_.size() < kLineBytesMax) buffer_.append(bytes, static_cast<size_t>(count));
  }
}

bool ChildProcess::Running() {
  if (!ended_) ended_ = waitpid(pid_, &wait_status_, WNOHANG) == pid_;
  return !ended_;
}

std::string ChildProcess::exit_text() const {
  if (WIFSIGNALED(wait_status_)) {
    return absl::StrFormat("was ended by signal %d", WTERMSIG(wait_status_));
  }
  return absl::StrFormat("ended with status %d", WEXITSTATUS(wait_status_));
}

absl::Status EndProcesses(const std::vector<ProcessInfo>& processes, absl::Duration grace,
                          const std::function<void()>& reap) {
  const auto send = [&processes](int signal) {
    for (const ProcessInfo& process : processes) {
      if (IsAlive(process.pid)) kill(process.pid, signal);
    }
  };
  const auto await = [&](absl::Duration timeout) {
    const absl::Time deadline = absl::Now() + timeout;
    while (true) {
      if (reap) reap();
      const bool gone = std::ranges::none_of(
          processes, [](const ProcessInfo& process) { return IsAlive(process.pid); });
      if (gone || absl::Now() >= deadline) return gone;
      absl::SleepFor(absl::Milliseconds(20));  // The kernel tells only parents.
    }
  };
  send(SIGTERM);
  if (await(grace)) return absl::OkStatus();
  send(SIGKILL);
  if (await(absl::Seconds(5))) return absl::OkStatus();
  std::string left;
  for (const ProcessInfo& process : processes) {
    if (IsAlive(process.pid)) left += absl::StrFormat(" %s (pid %d)", process.name, process.pid);
  }
  return absl::InternalError("still running after SIGKILL:" + left);
}

uint64_t FileSize(const std::string& path) {
  struct stat facts{};
  return stat(path.c_str(), &facts) == 0 ? static_cast<uint64_t>(facts.st_size) : 0;
}

std::string LastError(const std::string& path, uint64_t offset) {
  std::ifstream file(path, std::ios::binary);
  const uint64_t size = FileSize(path);
  file.seekg(static_cast<std::streamoff>(std::max(offset, size - std::min(size, kTailBytes))));
  std::string last;
  std::string last_error;
  for (std::string line; std::getline(file, line);) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    last = line;
    const absl::StatusOr<boost::json::value> entry = kube::ParseJson(line);
    if (!entry.ok()) continue;
    last.clear();  // An ordinary log line explains nothing, unless it is an error.
    if (kube::StringAt(*entry, {"level"}) != "error") continue;
    last_error = kube::StringAt(*entry, {"msg"});
    const std::string_view error = kube::StringAt(*entry, {"error"});
    if (!error.empty()) last_error += absl::StrFormat(": %s", error);
  }
  return last.empty() ? last_error : last;
}

}  // namespace kaito

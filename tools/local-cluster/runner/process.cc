#include "local-cluster/runner/process.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <utility>

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_format.h"

#include "common/base/files.h"
#include "common/base/status_macros.h"

namespace local_cluster {
namespace {

constexpr int kControlFdOfKeeper = 3;

std::vector<char*> Pointers(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

// posix_spawn, because it costs the same however large this process is.
class Spawn {
 public:
  Spawn() {
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
    sigset_t none;
    sigemptyset(&none);
    sigset_t all;
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setflags(&attributes_,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~Spawn() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  Spawn(const Spawn&) = delete;
  Spawn& operator=(const Spawn&) = delete;

  absl::StatusOr<pid_t> Run(const ProcessOptions& options, int control) {
    AddStream(0, options.input_fd, O_RDONLY);
    AddStream(1, options.output_fd, O_WRONLY);
    AddStream(2, options.error_fd >= 0 ? options.error_fd : options.output_fd, O_WRONLY);
    posix_spawn_file_actions_adddup2(&actions_, control, kControlFdOfKeeper);
    if (!options.folder.empty()) {
      posix_spawn_file_actions_addchdir_np(&actions_, options.folder.c_str());
    }
    std::vector<std::string> words = {options.keeper, std::to_string(kControlFdOfKeeper),
                                      options.program, options.program};
    words.insert(words.end(), options.arguments.begin(), options.arguments.end());
    std::vector<std::string> environment = options.environment;
    pid_t pid = 0;
    const int error = posix_spawn(&pid, options.keeper.c_str(), &actions_, &attributes_,
                                  Pointers(words).data(), Pointers(environment).data());
    if (error != 0) {
      return base::ErrnoStatus(error,
                               absl::StrFormat("start %s in %s", options.keeper, options.folder));
    }
    return pid;
  }

 private:
  void AddStream(int target, int fd, int mode) {
    if (fd >= 0) {
      posix_spawn_file_actions_adddup2(&actions_, fd, target);
    } else {
      posix_spawn_file_actions_addopen(&actions_, target, "/dev/null", mode, 0);
    }
  }

  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Process>> Process::Start(EventLoop& loop, ProcessOptions options,
                                                        Callbacks callbacks) {
  std::array<int, 2> sockets{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()) != 0) {
    return base::ErrnoStatus(errno, "socketpair");
  }
  const absl::StatusOr<pid_t> keeper = Spawn().Run(options, sockets[1]);
  close(sockets[1]);
  if (!keeper.ok()) {
    close(sockets[0]);
    return keeper.status();
  }
  return std::unique_ptr<Process>(new Process(loop, std::move(callbacks), sockets[0], *keeper));
}

Process::Process(EventLoop& loop, Callbacks callbacks, int control, pid_t keeper)
    : loop_(loop), callbacks_(std::move(callbacks)), control_(control), keeper_(keeper) {
  loop_.Watch(control_, EPOLLIN, [this](uint32_t) { OnControl(); });
}

Process::~Process() { CloseControl(); }

// Without its socket the keeper ends everything, then itself.
void Process::CloseControl() {
  if (control_ < 0) return;
  loop_.Unwatch(control_);
  close(control_);
  control_ = -1;
  while (waitpid(keeper_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void Process::Command(char command) {
  if (control_ < 0) return;
  [[maybe_unused]] const ssize_t sent = send(control_, &command, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void Process::Terminate() { Command('t'); }
void Process::Kill() { Command('k'); }

void Process::OnControl() {
  std::array<char, 256> buffer{};
  const ssize_t length = recv(control_, buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (length < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (length > 0) {
    received_.append(buffer.data(), length);
    for (size_t end = 0; (end = received_.find('\n')) != std::string::npos;) {
      HandleLine(received_.substr(0, end));
      received_.erase(0, end + 1);
    }
    return;
  }
  // The keeper is gone; without a last word somebody killed it, and the kernel its child.
  CloseControl();
  const Callbacks callbacks = std::move(callbacks_);  // They may destroy this object.
  const absl::Status failure = failure_;
  const ProcessExit exit = exit_;
  if (!failure.ok()) {
    if (callbacks.failed) callbacks.failed(failure);
  } else if (callbacks.exited) {
    callbacks.exited(exit);
  }
}

void Process::HandleLine(std::string_view line) {
  const std::string text(line);
  int first = 0;
  int second = 0;
  if (sscanf(text.c_str(), "started %d", &first) == 1) {
    pid_ = first;
    if (callbacks_.started) callbacks_.started(pid_);
  } else if (sscanf(text.c_str(), "failed %d", &first) == 1) {
    failure_ = base::ErrnoStatus(first, "execute");
  } else if (sscanf(text.c_str(), "exited %d %d", &first, &second) == 2) {
    exit_ = {first, second};
  }
}

int KillMarkedProcesses(const std::string& marker) {
  const absl::StatusOr<std::vector<std::string>> entries = base::ListDirectory("/proc");
  if (!entries.ok()) return 0;
  int killed = 0;
  const std::string needle = marker + '\0';
  for (const std::string& entry : *entries) {
    const pid_t pid = atoi(entry.c_str());
    if (pid <= 1 || pid == getpid()) continue;
    const absl::StatusOr<std::string> environment =
        base::ReadFile(absl::StrFormat("/proc/%d/environ", pid), 4 << 20);
    if (!environment.ok()) continue;
    const size_t found = environment->find(needle);
    if (found == std::string::npos || (found > 0 && (*environment)[found - 1] != '\0')) continue;
    if (kill(pid, SIGKILL) == 0) ++killed;
  }
  return killed;
}

}  // namespace local_cluster

#include "integration-tests/support/command.h"

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/time/clock.h"

namespace integration {
namespace {

int ExitCode(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

[[noreturn]] void Exec(const std::vector<std::string>& command) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  execvp(arguments[0], arguments.data());
  _exit(127);
}

// Reads what is there; false at the end of the stream.
bool ReadSome(int fd, std::string& target) {
  char buffer[65536];
  const ssize_t got = read(fd, buffer, sizeof(buffer));
  if (got > 0) target.append(buffer, static_cast<size_t>(got));
  return got > 0 || (got < 0 && errno == EINTR);
}

// Reads both pipes until they close; false at the deadline.
bool ReadPipes(int out, int err, absl::Time deadline, CommandResult& result) {
  bool out_open = true;
  bool err_open = true;
  while (out_open || err_open) {
    const absl::Duration rest = deadline - absl::Now();
    if (rest <= absl::ZeroDuration()) return false;
    pollfd fds[2] = {{out_open ? out : -1, POLLIN, 0}, {err_open ? err : -1, POLLIN, 0}};
    poll(fds, 2, static_cast<int>(absl::ToInt64Milliseconds(rest)) + 1);
    if (fds[0].revents != 0) out_open = ReadSome(out, result.out);
    if (fds[1].revents != 0) err_open = ReadSome(err, result.err);
  }
  return true;
}

}  // namespace

CommandResult RunCommand(const std::vector<std::string>& command, const CommandOptions& options) {
  CommandResult result;
  const absl::Time started = absl::Now();
  int in[2];
  int out[2];
  int err[2];
  if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) {
    result.err = "pipe failed";
    return result;
  }
  const pid_t pid = fork();
  if (pid == 0) {
    setpgid(0, 0);
    dup2(in[0], 0);
    dup2(out[1], 1);
    dup2(err[1], 2);
    for (const std::string& variable : options.environment) {
      putenv(const_cast<char*>(variable.c_str()));
    }
    Exec(command);
  }
  close(in[0]);
  close(out[1]);
  close(err[1]);
  signal(SIGPIPE, SIG_IGN);
  if (!options.input.empty()) {
    [[maybe_unused]] const ssize_t written =
        write(in[1], options.input.data(), options.input.size());
  }
  close(in[1]);
  const bool ended = ReadPipes(out[0], err[0], started + options.timeout, result);
  if (!ended) kill(-pid, SIGKILL);
  int status = 0;
  waitpid(pid, &status, 0);
  close(out[0]);
  close(err[0]);
  result.exit_code = ended ? ExitCode(status) : 124;
  result.took = absl::Now() - started;
  return result;
}

BackgroundCommand::BackgroundCommand(const std::vector<std::string>& command,
                                     const std::string& log) {
  pid_ = fork();
  if (pid_ != 0) return;
  setpgid(0, 0);
  const int null = open("/dev/null", O_RDONLY);
  const int file = open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  dup2(null, 0);
  dup2(file, 1);
  dup2(file, 2);
  Exec(command);
}

BackgroundCommand::~BackgroundCommand() { Stop(); }

int BackgroundCommand::Stop(int signal) {
  if (pid_ <= 0) return -1;
  kill(pid_, signal);
  const absl::Time deadline = absl::Now() + absl::Seconds(10);
  int status = 0;
  while (waitpid(pid_, &status, WNOHANG) == 0) {
    if (absl::Now() > deadline) kill(-pid_, SIGKILL);
    absl::SleepFor(absl::Milliseconds(5));
  }
  pid_ = -1;
  return ExitCode(status);
}

std::string FindProgram(std::string_view name) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::string candidate = folder + "/" + std::string(name);
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return "";
}

std::vector<pid_t> ProcessesWith(std::string_view text) {
  std::vector<pid_t> pids;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream file(entry.path() / "cmdline", std::ios::binary);
    const std::string line((std::istreambuf_iterator<char>(file)), {});
    if (line.find(text) != std::string::npos && std::stoi(name) != getpid()) {
      pids.push_back(std::stoi(name));
    }
  }
  return pids;
}

}  // namespace integration

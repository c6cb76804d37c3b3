// Programs started by the tests: run to the end, or kept in the background.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "absl/time/time.h"

namespace integration {

struct CommandResult {
  int exit_code = -1;  // 128 + signal when it was killed; 124 at the timeout.
  std::string out;
  std::string err;
  absl::Duration took;
};

struct CommandOptions {
  absl::Duration timeout = absl::Seconds(60);
  std::vector<std::string> environment;  // "NAME=value", added to the test's own.
  std::string input;
};

// Blocks until the program has ended. A name without '/' is looked up in PATH.
CommandResult RunCommand(const std::vector<std::string>& command,
                         const CommandOptions& options = {});

// A program that runs until Stop() or destruction (SIGTERM, then SIGKILL after 10 s).
class BackgroundCommand {
 public:
  // Its stdout and stderr go to the file `log`.
  BackgroundCommand(const std::vector<std::string>& command, const std::string& log);
  BackgroundCommand(const BackgroundCommand&) = delete;
  BackgroundCommand& operator=(const BackgroundCommand&) = delete;
  ~BackgroundCommand();

  // Returns its exit code as CommandResult has it.
  int Stop(int signal = 15);
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
};

// Absolute path of a program in PATH, or "".
std::string FindProgram(std::string_view name);

// Pids of all processes whose command line contains `text`.
std::vector<pid_t> ProcessesWith(std::string_view text);

}  // namespace integration

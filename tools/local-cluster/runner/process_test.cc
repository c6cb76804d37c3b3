#include "local-cluster/runner/process.h"

#include <array>
#include <memory>

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "gtest/gtest.h"

#include "common/base/files.h"

namespace local_cluster {
namespace {

struct Outcome {
  std::string output;
  ProcessExit exit;
  absl::Status failure;
};

class ProcessTest : public testing::Test {
 protected:
  ProcessOptions Shell(const std::string& script) {
    return {.keeper = base::ExecutableFolder() + "/pod-keeper",
            .program = "/bin/sh",
            .arguments = {"-c", script},
            .environment = {"PATH=/usr/bin:/bin", "MARK=process-test"},
            .folder = "/"};
  }

  // Runs to the end; `started` is called when the program runs.
  Outcome RunToEnd(ProcessOptions options, const std::function<void(Process&)>& started = nullptr) {
    std::array<int, 2> output{};
    EXPECT_EQ(pipe2(output.data(), O_CLOEXEC), 0);
    options.output_fd = output[1];
    Outcome run;
    std::unique_ptr<Process> process;
    Process::Callbacks callbacks;
    callbacks.started = [&](pid_t) {
      if (started) started(*process);
    };
    callbacks.failed = [&](const absl::Status& status) {
      run.failure = status;
      loop_.Stop();
    };
    callbacks.exited = [&](const ProcessExit& exit) {
      run.exit = exit;
      loop_.Stop();
    };
    process = *Process::Start(loop_, options, callbacks);
    close(output[1]);
    loop_.Run();
    std::array<char, 4096> buffer{};
    for (ssize_t got = 0; (got = read(output[0], buffer.data(), buffer.size())) > 0;) {
      run.output.append(buffer.data(), got);
    }
    close(output[0]);
    return run;
  }

  EventLoop loop_;
};

TEST_F(ProcessTest, ExitCodeAndOutputArrive) {
  const Outcome run = RunToEnd(Shell("echo $MARK; echo err >&2; exit 3"));
  EXPECT_EQ(run.exit.exit_code, 3);
  EXPECT_EQ(run.output, "process-test\nerr\n");
}

TEST_F(ProcessTest, ProgramThatIsMissingIsNamedAsAFailure) {
  ProcessOptions options = Shell("");
  options.program = "/does/not/exist";
  EXPECT_TRUE(absl::IsNotFound(RunToEnd(options).failure));
}

TEST_F(ProcessTest, TerminateReachesTheProcessGroup) {
  const Outcome run = RunToEnd(Shell("trap 'exit 7' TERM; sleep 60 & wait"),
                               [](Process& process) { process.Terminate(); });
  // The shell may not have set its trap yet; then the signal ends it.
  EXPECT_TRUE(run.exit.exit_code == 7 || run.exit.signal == SIGTERM) << run.exit.exit_code;
}

TEST_F(ProcessTest, KillEndsWhatIgnoresEverythingElse) {
  const Outcome run = RunToEnd(Shell("trap '' TERM; while true; do sleep 60; done"),
                               [](Process& process) { process.Kill(); });
  EXPECT_EQ(run.exit.signal, SIGKILL);
  EXPECT_EQ(run.exit.exit_code, 137);
}

TEST_F(ProcessTest, DescendantsInSessionsOfTheirOwnEndWithTheFirstProcess) {
  const Outcome run = RunToEnd(Shell("setsid sh -c 'sleep 60 & sleep 60' & echo $!; exit 0"));
  // Reading the output to its end would still block if one of them lived.
  EXPECT_EQ(run.exit.exit_code, 0);
}

TEST_F(ProcessTest, MarkedProcessesAreFoundAndEnded) {
  const Outcome run = RunToEnd(Shell("exec sleep 60"), [](Process&) {
    EXPECT_EQ(KillMarkedProcesses("MARK=process"), 0) << "a prefix is another mark";
    EXPECT_GE(KillMarkedProcesses("MARK=process-test"), 1);
  });
  EXPECT_EQ(run.exit.signal, SIGKILL);
}

}  // namespace
}  // namespace local_cluster

#include "local-cluster/supervisor/supervisor.h"

#include <signal.h>

#include "absl/synchronization/mutex.h"
#include "gtest/gtest.h"

#include "common/base/files.h"

namespace local_cluster {
namespace {

class SupervisorTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(base::CreateDirectories(folder_).ok()); }
  void TearDown() override { ASSERT_TRUE(base::RemoveAll(folder_).ok()); }

  SupervisedProgram Shell(const std::string& script) {
    return {.name = "shell",
            .program = "/bin/sh",
            .arguments = {"-c", script},
            .environment = {"PATH=/usr/bin:/bin"},
            .folder = folder_,
            .log_path = folder_ + "/shell.log"};
  }

  // Waits until `done` holds, looking after each change.
  void Await(Supervisor& supervisor, const std::function<bool(pid_t)>& done) {
    while (true) {
      int seen = 0;
      {
        absl::MutexLock lock(&mutex_);
        seen = changes_;
      }
      if (done(supervisor.pids()["shell"])) return;
      absl::MutexLock lock(&mutex_);
      const auto changed = [&] { return changes_ != seen; };
      ASSERT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&changed), absl::Seconds(20)));
    }
  }

  SupervisorOptions Options() {
    return {.keeper = base::ExecutableFolder() + "/pod-keeper",
            .backoff_initial = absl::Milliseconds(5),
            .changed = [this](const std::map<std::string, pid_t>&) {
              absl::MutexLock lock(&mutex_);
              ++changes_;
            }};
  }

  const std::string folder_ = testing::TempDir() + "supervisor_" +
                              testing::UnitTest::GetInstance()->current_test_info()->name();
  absl::Mutex mutex_;
  int changes_ = 0;
};

TEST_F(SupervisorTest, ProgramThatWasKilledIsStartedAgain) {
  Supervisor supervisor(Options());
  supervisor.Start(Shell("echo started; exec sleep 60"));
  pid_t first = 0;
  Await(supervisor, [&](pid_t pid) { return (first = pid) != 0; });
  kill(first, SIGKILL);
  Await(supervisor, [&](pid_t pid) { return pid != 0 && pid != first; });
}

TEST_F(SupervisorTest, StopEndsProgramsAndStartsNoneAgain) {
  Supervisor supervisor(Options());
  supervisor.Start(Shell("echo output; exec sleep 60"));
  Await(supervisor, [](pid_t pid) { return pid != 0; });
  const pid_t pid = supervisor.pids()["shell"];
  supervisor.Stop(absl::Seconds(10));
  EXPECT_EQ(supervisor.pids()["shell"], 0);
  EXPECT_NE(kill(pid, 0), 0);
}

}  // namespace
}  // namespace local_cluster

#include "local-cluster/supervisor/supervisor.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_format.h"
#include "absl/synchronization/notification.h"

#include "common/base/clock.h"
#include "common/base/log.h"

namespace local_cluster {
namespace {

constexpr absl::Duration kHealthyRun = absl::Minutes(1);
constexpr off_t kLogBytesMax = 10 << 20;

int OpenLog(const std::string& path) {
  struct stat info{};
  if (stat(path.c_str(), &info) == 0 && info.st_size > kLogBytesMax) {
    rename(path.c_str(), (path + ".1").c_str());
  }
  return open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

}  // namespace

struct Supervisor::Child {
  SupervisedProgram program;
  std::unique_ptr<Process> process;
  absl::Duration started;
  absl::Duration backoff;
  EventLoop::TimerId timer = 0;
  bool stopping = false;
  std::function<void()> ended;  // While stopping.
};

Supervisor::Supervisor(SupervisorOptions options)
    : options_(std::move(options)), loop_thread_("supervisor"), loop_(loop_thread_.loop()) {}

Supervisor::~Supervisor() {
  Stop(absl::ZeroDuration());
  loop_.Call([this] { children_.clear(); });
}

void Supervisor::Start(SupervisedProgram program) {
  loop_.Call([&] {
    children_.push_back(std::make_unique<Child>());
    children_.back()->program = std::move(program);
    children_.back()->backoff = options_.backoff_initial;
    Launch(*children_.back());
  });
}

void Supervisor::Launch(Child& child) {
  const SupervisedProgram& program = child.program;
  const int log = OpenLog(program.log_path);
  child.started = base::RealClock().Monotonic();
  Process::Callbacks callbacks;
  callbacks.started = [this, &child](pid_t pid) {
    base::LogInfo("program started", {{"program", child.program.name}, {"pid", pid}});
    options_.changed(PidsNow());
  };
  callbacks.failed = [this, &child](const absl::Status& status) {
    OnEnd(child, std::string(status.message()));
  };
  callbacks.exited = [this, &child](const ProcessExit& exit) {
    OnEnd(child, absl::StrFormat("exit code %d", exit.exit_code));
  };
  auto process = Process::Start(loop_,
                                {.keeper = options_.keeper,
                                 .program = program.program,
                                 .arguments = program.arguments,
                                 .environment = program.environment,
                                 .folder = program.folder,
                                 .output_fd = log},
                                std::move(callbacks));
  if (log >= 0) close(log);
  if (!process.ok()) return OnEnd(child, std::string(process.status().message()));
  child.process = std::move(*process);
}

void Supervisor::OnEnd(Child& child, const std::string& why) {
  loop_.Cancel(child.timer);
  child.process.reset();
  options_.changed(PidsNow());
  if (child.stopping) {
    if (child.ended) std::exchange(child.ended, nullptr)();
    return;
  }
  if (base::RealClock().Monotonic() - child.started >= kHealthyRun)
    child.backoff = options_.backoff_initial;
  base::LogError("program ended", {{"program", child.program.name},
                                   {"error", why},
                                   {"restart_in", child.backoff},
                                   {"log", child.program.log_path}});
  child.timer = loop_.After(child.backoff, [this, &child] { Launch(child); });
  child.backoff = std::min(child.backoff * 2, options_.backoff_max);
}

void Supervisor::Stop(absl::Duration grace) {
  size_t count = 0;
  loop_.Call([&] { count = children_.size(); });
  for (size_t i = count; i-- > 0;) {
    auto ended = std::make_shared<absl::Notification>();
    loop_.Call([&] {
      Child& child = *children_[i];
      loop_.Cancel(child.timer);
      child.stopping = true;
      if (!child.process) return ended->Notify();
      child.ended = [ended] { ended->Notify(); };
      child.process->Terminate();
      child.timer = loop_.After(grace, [&child] {
        if (child.process) child.process->Kill();
      });
    });
    ended->WaitForNotificationWithTimeout(grace + absl::Seconds(5));
  }
}

std::map<std::string, pid_t> Supervisor::PidsNow() const {
  std::map<std::string, pid_t> out;
  for (const auto& child : children_) {
    out[child->program.name] = child->process ? child->process->pid() : 0;
  }
  return out;
}

std::map<std::string, pid_t> Supervisor::pids() {
  std::map<std::string, pid_t> out;
  loop_.Call([&] { out = PidsNow(); });
  return out;
}

}  // namespace local_cluster

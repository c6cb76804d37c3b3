#include "local-cluster/runner/container_run.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "absl/time/clock.h"

#include "common/base/clock.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"

namespace local_cluster {
namespace {

// Until a probe has succeeded once, it is also tried between its periods, so that a container that
// is ready is seen at once. Only tries at the period count as failures.
constexpr absl::Duration kQuickWait = absl::Milliseconds(25);

absl::Duration Monotonic() { return base::RealClock().Monotonic(); }

}  // namespace

absl::StatusOr<std::unique_ptr<ContainerRun>> ContainerRun::Start(EventLoop& loop,
                                                                  ContainerRunOptions options,
                                                                  Callbacks callbacks) {
  std::array<int, 2> output{};
  if (pipe2(output.data(), O_CLOEXEC) != 0) return base::ErrnoStatus(errno, "pipe");
  fcntl(output[0], F_SETFL, O_NONBLOCK);
  ProcessOptions process = options.process;
  process.output_fd = output[1];
  std::unique_ptr<ContainerRun> run(
      new ContainerRun(loop, std::move(options), std::move(callbacks), output[0]));
  ContainerRun* self = run.get();
  Process::Callbacks events;
  events.started = [self](pid_t) {
    self->callbacks_.running();
    self->BeginProbes();
  };
  events.failed = [self](const absl::Status& status) { self->callbacks_.failed(status); };
  events.exited = [self](const ProcessExit& exit) { self->OnExit(exit); };
  absl::StatusOr<std::unique_ptr<Process>> started =
      Process::Start(loop, std::move(process), std::move(events));
  close(output[1]);
  RETURN_IF_ERROR(started.status());
  run->process_ = std::move(*started);
  return run;
}

ContainerRun::ContainerRun(EventLoop& loop, ContainerRunOptions options, Callbacks callbacks,
                           int output)
    : loop_(loop),
      options_(std::move(options)),
      callbacks_(std::move(callbacks)),
      log_(options_.log_path),
      output_(output) {
  loop_.Watch(output_, EPOLLIN, [this](uint32_t) { OnOutput(); });
}

ContainerRun::~ContainerRun() {
  loop_.Cancel(kill_timer_);
  EndProbes();
  process_.reset();
  CloseOutput();
  log_.Finish(absl::Now());
}

void ContainerRun::CloseOutput() {
  if (output_ < 0) return;
  loop_.Unwatch(output_);
  close(output_);
  output_ = -1;
}

void ContainerRun::OnOutput() {
  std::array<char, 64 << 10> buffer;
  while (output_ >= 0) {
    const ssize_t got = read(output_, buffer.data(), buffer.size());
    if (got > 0) {
      log_.Append(std::string_view(buffer.data(), got), absl::Now());
      if (static_cast<size_t>(got) < buffer.size()) return;  // Let others have their turn.
      continue;
    }
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return;
    return CloseOutput();
  }
}

void ContainerRun::OnExit(const ProcessExit& exit) {
  EndProbes();
  pre_stop_.reset();
  loop_.Cancel(kill_timer_);
  // The keeper has ended everything, so what is in the pipe is the rest.
  std::array<char, 64 << 10> buffer;
  for (ssize_t got = 0; output_ >= 0 && (got = read(output_, buffer.data(), buffer.size())) > 0;) {
    log_.Append(std::string_view(buffer.data(), got), absl::Now());
  }
  CloseOutput();
  log_.Finish(absl::Now());
  const auto exited = callbacks_.exited;  // It may destroy this object.
  exited(exit);
}

void ContainerRun::KillForMemory() {
  killed_for_memory_ = true;
  process_->Kill();
}

void ContainerRun::Stop(absl::Duration grace) {
  loop_.Cancel(kill_timer_);
  kill_timer_ = loop_.After(grace, [this] { process_->Kill(); });
  if (stopping_) return;
  stopping_ = true;
  EndProbes();
  if (!options_.spec.pre_stop || grace <= absl::ZeroDuration()) return process_->Terminate();
  const ActionSpec& action = *options_.spec.pre_stop;
  pre_stop_ = StartProbe(loop_, action, options_.address, grace, Exec(action),
                         [this](const ProbeResult&) { process_->Terminate(); });
}

ExecContext ContainerRun::Exec(const ActionSpec& action) const {
  return {.keeper = options_.process.keeper,
          .command = action.command.empty() ? std::vector<std::string>{}
                                            : options_.exec_command(action.command),
          .environment = options_.process.environment,
          .folder = options_.process.folder};
}

void ContainerRun::BeginProbes() {
  const ContainerSpec& spec = options_.spec;
  if (spec.startup) return BeginProbe(ProbeKind::kStartup, *spec.startup);
  callbacks_.probe_changed(ProbeKind::kStartup, true);
  if (spec.liveness) BeginProbe(ProbeKind::kLiveness, *spec.liveness);
  if (spec.readiness) {
    BeginProbe(ProbeKind::kReadiness, *spec.readiness);
  } else {
    callbacks_.probe_changed(ProbeKind::kReadiness, true);
  }
}

void ContainerRun::BeginProbe(ProbeKind kind, const ProbeSpec& spec) {
  probes_.push_back(std::make_unique<Schedule>());
  Schedule& schedule = *probes_.back();
  schedule.kind = kind;
  schedule.spec = spec;
  schedule.next_counted = Monotonic() + spec.initial_delay;
  schedule.quick_wait = kQuickWait;
  schedule.timer = loop_.After(spec.initial_delay, [this, &schedule] { Try(schedule); });
}

void ContainerRun::Try(Schedule& schedule) {
  schedule.run =
      StartProbe(loop_, schedule.spec.action, options_.address, schedule.spec.timeout,
                 Exec(schedule.spec.action),
                 [this, &schedule](const ProbeResult& result) { OnResult(schedule, result); });
}

void ContainerRun::OnResult(Schedule& schedule, const ProbeResult& result) {
  const ProbeSpec& spec = schedule.spec;
  const absl::Duration now = Monotonic();
  const bool counts = now >= schedule.next_counted;
  if (counts) schedule.next_counted = std::max(schedule.next_counted + spec.period, now);
  absl::Duration wait = spec.period;
  if (result.ok) {
    ++schedule.successes;
    schedule.failures = 0;
  } else {
    schedule.successes = 0;
    if (counts) {
      ++schedule.failures;
      callbacks_.probe_failed(schedule.kind, result.message);
    }
    // Liveness has nothing to gain from an early answer.
    if (!schedule.ok && schedule.kind != ProbeKind::kLiveness) {
      wait = std::min({schedule.quick_wait, spec.period,
                       std::max(schedule.next_counted - now, absl::ZeroDuration())});
      schedule.quick_wait = std::min(schedule.quick_wait * 2, absl::Milliseconds(200));
    }
  }
  schedule.timer = loop_.After(wait, [this, &schedule] { Try(schedule); });

  bool changed = false;
  if (schedule.successes >= spec.success_threshold && !(schedule.known && schedule.ok)) {
    schedule.known = schedule.ok = changed = true;
    schedule.quick_wait = kQuickWait;
  }
  if (schedule.failures >= spec.failure_threshold && (schedule.ok || !schedule.known)) {
    schedule.ok = false;
    schedule.known = changed = true;
  }
  if (!changed) return;
  const ProbeKind kind = schedule.kind;
  const bool ok = schedule.ok;
  if (kind != ProbeKind::kStartup) return callbacks_.probe_changed(kind, ok);
  // The schedule is destroyed here, from inside its own run's callback; `run` has ended already.
  loop_.Post([this, ok, alive = std::weak_ptr<int>(alive_)] {
    if (alive.expired() || stopping_) return;
    EndProbes();
    if (!ok) return callbacks_.probe_changed(ProbeKind::kStartup, false);
    options_.spec.startup.reset();
    BeginProbes();
  });
}

void ContainerRun::EndProbes() {
  for (const auto& schedule : probes_) loop_.Cancel(schedule->timer);
  probes_.clear();
}

}  // namespace local_cluster

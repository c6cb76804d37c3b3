#include "local-cluster/runner/pod_worker.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

#include "boost/json.hpp"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/kube/json.h"

namespace local_cluster {
namespace {

namespace json = boost::json;
using Phase = ContainerState::Phase;

constexpr size_t kMessageBytesMax = 4096;
constexpr int kMessageLines = 80;

std::string_view ProbeName(ProbeKind kind) {
  switch (kind) {
    case ProbeKind::kStartup:
      return "Startup";
    case ProbeKind::kLiveness:
      return "Liveness";
    case ProbeKind::kReadiness:
      return "Readiness";
  }
  return "";
}

}  // namespace

PodWorker::PodWorker(EventLoop& loop, PodHost& host, const PodWorkerOptions& options,
                     kube::Object pod)
    : loop_(loop),
      host_(host),
      options_(options),
      pod_(std::move(pod)),
      folder_(absl::StrFormat("%s/%s", options.pods_folder, pod_.uid())) {
  absl::StatusOr<PodSpec> spec = ParsePodSpec(pod_);
  if (spec.ok()) {
    spec_ = *std::move(spec);
  } else {
    spec_error_ = spec.status();
  }
  const absl::Time now = absl::Now();
  states_ = RestoreStates(pod_, spec_, now);
  facts_.pod_ip = host_.Sources(pod_).pod_ip;
  facts_.start_time = kube::ParseTime(pod_.StringAt({"status", "startTime"})).value_or(now);
  const std::string_view phase = pod_.StringAt({"status", "phase"});
  if (phase == "Failed" && ComputePhase(spec_, states_, false) != PodPhase::kFailed) {
    facts_.failed = true;
    facts_.reason = pod_.StringAt({"status", "reason"});
    facts_.message = pod_.StringAt({"status", "message"});
  }
  if (!spec_error_.ok() && !facts_.failed) {
    facts_.failed = true;
    facts_.reason = "InvalidPod";
    facts_.message = std::string(spec_error_.message());
  }
  if (spec_.active_deadline && !facts_.failed) {
    deadline_ = loop_.After(facts_.start_time + *spec_.active_deadline - now, [this] {
      FailAsAWhole("DeadlineExceeded",
                   "Pod was active on the node longer than the specified deadline");
    });
  }
  StepLater();
}

PodWorker::~PodWorker() {
  for (const EventLoop::TimerId timer : {wake_, refresh_, deadline_}) loop_.Cancel(timer);
}

void PodWorker::Update(kube::Object pod) {
  const bool was_stopping = stopping();
  pod_ = std::move(pod);
  if (published_) {  // What we wrote is newer than what a watch shows; others' conditions are
                     // theirs.
    kube::Object merged = pod_;
    if (const json::value* status = published_->Find({"status"})) {
      kube::MakePath(merged.mutable_json(), {"status"}) = *status;
    }
    *published_ = std::move(merged);
  }
  if (stopping() && was_stopping) {
    // A second deletion may have shortened the grace period.
    for (const auto& [name, run] : runs_) {
      if (states_[name].stopping) run->Stop(Grace());
    }
  }
  StepLater();
}

bool PodWorker::stopping() const {
  return pod_.being_deleted() || facts_.failed || abandoned_ != nullptr;
}

absl::Duration PodWorker::Grace() const {
  if (!pod_.being_deleted()) return spec_.grace;
  const absl::Duration grace =
      absl::Seconds(pod_.IntAt({"metadata", "deletionGracePeriodSeconds"}, 30));
  // deletionTimestamp is when the grace period ends.
  return std::clamp(*pod_.deletion_time() - absl::Now(), absl::ZeroDuration(), grace);
}

void PodWorker::Abandon(absl::Duration grace, std::function<void()> done) {
  abandoned_ = std::move(done);
  for (const auto& [name, run] : runs_) {
    states_[name].stopping = true;
    run->Stop(grace);
  }
  StepLater();
}

void PodWorker::FailAsAWhole(std::string_view reason, std::string_view message) {
  if (facts_.failed || ComputePhase(spec_, states_, false) == PodPhase::kSucceeded) return;
  facts_.failed = true;
  facts_.reason = reason;
  facts_.message = message;
  StepLater();
}

// Always from the loop, never from inside a callback of something that Step() may destroy.
void PodWorker::StepLater() {
  if (step_queued_) return;
  step_queued_ = true;
  loop_.Post([this, alive = std::weak_ptr<int>(alive_)] {
    if (alive.expired()) return;
    step_queued_ = false;
    Step();
  });
}

void PodWorker::Step() {
  std::erase_if(runs_, [this](const auto& entry) { return !states_[entry.first].running(); });
  const absl::Time now = absl::Now();
  const PodPlan plan = PlanPod(spec_, states_, stopping(), now);
  for (const std::string& name : plan.stop) StopContainer(name, Grace());
  for (const std::string& name : plan.start) StartContainer(*spec_.Find(name));
  loop_.Cancel(wake_);
  if (plan.wake_at != absl::InfiniteFuture()) {
    wake_ = loop_.After(plan.wake_at - now, [this] { StepLater(); });
  }
  if (abandoned_) {
    if (plan.all_ended) std::exchange(abandoned_, [] {})();
    return;
  }
  Publish();
  if (plan.all_ended && pod_.being_deleted() && !end_published_) {
    end_published_ = true;
    host_.PublishEnd(pod_);
  }
}

void PodWorker::Publish() {
  const kube::Object& base = published_ ? *published_ : pod_;
  json::value status = ComputePodStatus(base, spec_, states_, facts_, absl::Now());
  const json::value* before = base.Find({"status"});
  if (published_ && before != nullptr && *before == status) return;
  kube::Object next = pod_;
  kube::MakePath(next.mutable_json(), {"status"}) = status;
  published_ = std::make_unique<kube::Object>(std::move(next));
  host_.PublishStatus(pod_, std::move(status));
}

void PodWorker::StopContainer(const std::string& name, absl::Duration grace) {
  states_[name].stopping = true;
  const auto run = runs_.find(name);
  if (run == runs_.end()) return;
  host_.Event(pod_, false, "Killing", absl::StrFormat("Stopping container %s", name));
  run->second->Stop(grace);
}

ContainerRun::Callbacks PodWorker::CallbacksOf(const ContainerSpec& spec) {
  ContainerRun::Callbacks callbacks;
  const std::string name = spec.name;
  callbacks.running = [this, name] {
    ContainerState& state = states_[name];
    state.phase = Phase::kRunning;
    state.started_at = absl::Now();
    host_.Event(pod_, false, "Started", absl::StrFormat("Started container %s", name));
    StepLater();
  };
  callbacks.failed = [this, name](const absl::Status& status) {
    const ContainerSpec& spec = *spec_.Find(name);
    OnExit(spec, {.exit_code = kCannotRunExit});
    states_[name].termination->reason = "StartError";
    states_[name].termination->message = std::string(status.message());
  };
  callbacks.exited = [this, name](const ProcessExit& exit) { OnExit(*spec_.Find(name), exit); };
  callbacks.probe_failed = [this](ProbeKind kind, const std::string& message) {
    host_.Event(pod_, true, "Unhealthy",
                absl::StrFormat("%s probe failed: %s", ProbeName(kind), message));
  };
  callbacks.probe_changed = [this, name](ProbeKind kind, bool ok) {
    OnProbe(*spec_.Find(name), kind, ok);
  };
  return callbacks;
}

void PodWorker::OnProbe(const ContainerSpec& spec, ProbeKind kind, bool ok) {
  ContainerState& state = states_[spec.name];
  if (kind == ProbeKind::kReadiness) state.ready = ok;
  if (kind == ProbeKind::kStartup && ok) state.started = true;
  if (kind != ProbeKind::kReadiness && !ok) {
    host_.Event(pod_, false, "Killing",
                absl::StrFormat("Container %s failed %s probe, will be restarted", spec.name,
                                kind == ProbeKind::kStartup ? "startup" : "liveness"));
    state.ready = false;
    runs_.at(spec.name)->Stop(spec_.grace);
  }
  StepLater();
}

void PodWorker::OnExit(const ContainerSpec& spec, const ProcessExit& exit) {
  ContainerState& state = states_[spec.name];
  const auto run = runs_.find(spec.name);
  const bool out_of_memory = run != runs_.end() && run->second->killed_for_memory();
  const absl::Time now = absl::Now();
  state.phase = Phase::kTerminated;
  state.termination = Termination{.exit_code = exit.exit_code,
                                  .signal = exit.signal,
                                  .reason = out_of_memory         ? "OOMKilled"
                                            : exit.exit_code == 0 ? "Completed"
                                                                  : "Error",
                                  .message = TerminationMessage(spec, exit.exit_code),
                                  .started_at = state.started_at,
                                  .finished_at = now};
  state.backoff = state.restarts == 0 && !state.last
                      ? absl::ZeroDuration()
                      : NextBackoff(state.backoff, now - state.started_at);
  state.started = state.ready = false;
  if (state.backoff > absl::ZeroDuration() && ShouldRestart(spec_, spec, *state.termination) &&
      !stopping()) {
    host_.Event(pod_, true, "BackOff",
                absl::StrFormat("Back-off restarting failed container %s in pod %s_%s(%s)",
                                spec.name, pod_.name(), pod_.namespace_name(), pod_.uid()));
  }
  StepLater();
}

std::string PodWorker::TerminationMessage(const ContainerSpec& spec, int exit_code) const {
  const absl::StatusOr<std::string> written =
      base::ReadFile(ContainerFolder(spec.name) + "/termination-log", 1 << 20);
  if (written.ok() && !written->empty()) return written->substr(0, kMessageBytesMax);
  if (!spec.message_from_logs || exit_code == 0) return "";
  const auto state = states_.find(spec.name);
  return LogTail(LogPath(spec.name, state->second.restarts), kMessageLines, kMessageBytesMax);
}

std::string PodWorker::ContainerFolder(const std::string& name) const {
  return absl::StrFormat("%s/containers/%s", folder_, name);
}

std::string PodWorker::LogPath(const std::string& name, int run) const {
  return absl::StrFormat("%s/%d.log", ContainerFolder(name), run);
}

std::vector<PodWorker::Watched> PodWorker::watched() {
  std::vector<Watched> out;
  for (const auto& [name, run] : runs_) {
    const ContainerSpec* spec = spec_.Find(name);
    if (spec->memory_limit_bytes <= 0 || run->pid() == 0) continue;
    out.push_back({run->pid(), spec->memory_limit_bytes, [&run = *run] { run.KillForMemory(); }});
  }
  return out;
}

absl::Status PodWorker::OpenLog(const PodLogOptions& options,
                                const std::shared_ptr<LogSink>& sink) {
  const ContainerSpec* spec = spec_.Find(options.container);
  if (spec == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrFormat("container %s is not valid for pod %s", options.container, options.pod));
  }
  const ContainerState& state = states_[options.container];
  const int run_number = state.restarts - (options.previous ? 1 : 0);
  const std::string path = LogPath(options.container, std::max(0, run_number));
  if (options.previous && (run_number < 0 || !base::FileExists(path))) {
    return absl::FailedPreconditionError(
        absl::StrFormat("previous terminated container \"%s\" in pod \"%s\" not found",
                        options.container, options.pod));
  }
  if (!base::FileExists(path)) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "container \"%s\" in pod \"%s\" is waiting to start: %s", options.container, options.pod,
        state.waiting_reason.empty() ? "ContainerCreating" : state.waiting_reason));
  }
  const LogFilter filter{.tail_lines = options.tail_lines,
                         .since = options.since,
                         .limit_bytes = options.limit_bytes,
                         .timestamps = options.timestamps};
  ASSIGN_OR_RETURN(std::string text, ReadLog(path, filter));
  if (!text.empty()) sink->Write(std::move(text));
  const auto run = runs_.find(options.container);
  if (!options.follow || options.previous || run == runs_.end() || !state.running()) {
    sink->End();
    return absl::OkStatus();
  }
  // Ends the stream when the log drops its subscriber, that is with the run.
  const std::shared_ptr<LogSink> until_dropped(sink.get(), [sink](LogSink* s) { s->End(); });
  run->second->log().Subscribe(filter, [until_dropped](std::string_view lines) {
    constexpr size_t kUnsentBytesMax = 16 << 20;  // A reader this far behind is not reading.
    return until_dropped->unsent_bytes() < kUnsentBytesMax &&
           until_dropped->Write(std::string(lines));
  });
  return absl::OkStatus();
}

}  // namespace local_cluster

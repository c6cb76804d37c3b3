// How a container of a Pod is brought to run: image, volumes, environment, process.

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "local-cluster/runner/environment.h"
#include "local-cluster/runner/pod_worker.h"
#include "local-cluster/runner/rewrite.h"

namespace local_cluster {
namespace {

using Phase = ContainerState::Phase;

constexpr absl::Duration kVolumeRefresh = absl::Seconds(20);

}  // namespace

void PodWorker::DeferStart(const ContainerSpec& spec, std::string_view reason,
                           const absl::Status& why) {
  ContainerState& state = states_[spec.name];
  const bool first = state.start_backoff == absl::ZeroDuration();
  state.start_backoff = first ? kBackoffInitial : std::min(state.start_backoff * 2, kBackoffMax);
  state.not_before = absl::Now() + state.start_backoff;
  state.waiting_reason = reason;
  state.waiting_message = std::string(why.message());
  host_.Event(pod_, true, "Failed", std::string(why.message()));
  if (reason ==
      "ErrImagePull") {  // As on a real node: shown as a back-off from the second look on.
    loop_.After(absl::Seconds(2), [this, name = spec.name, image = spec.image,
                                   alive = std::weak_ptr<int>(alive_)] {
      if (alive.expired() || states_[name].waiting_reason != "ErrImagePull") return;
      states_[name].waiting_reason = "ImagePullBackOff";
      states_[name].waiting_message = absl::StrFormat("Back-off pulling image \"%s\": %s", image,
                                                      states_[name].waiting_message);
      host_.Event(pod_, true, "BackOff", absl::StrFormat("Back-off pulling image \"%s\"", image));
      StepLater();
    });
  }
  StepLater();
}

void PodWorker::StartContainer(const ContainerSpec& spec) {
  const absl::StatusOr<Program> program = ProgramOfImage(spec.image, options_.images);
  if (!program.ok()) return DeferStart(spec, "ErrImagePull", program.status());
  if (const absl::Status status = PrepareVolumesNow(); !status.ok()) {
    return DeferStart(spec, "ContainerCreating", status);
  }
  const absl::StatusOr<ProcessOptions> process = ProcessOf(spec, *program);
  ContainerState& state = states_[spec.name];
  const bool restarts = state.termination.has_value() || state.last.has_value();
  if (!process.ok() && absl::IsNotFound(process.status()) &&
      std::string(process.status().message()).starts_with("exec:")) {
    // The image is there, its program is not: a run that ended before it began.
    if (restarts) ++state.restarts;
    state.last = state.termination;
    state.container_id = absl::StrFormat("local://%s-%s-%d", pod_.uid(), spec.name, state.restarts);
    state.started_at = absl::Now();
    state.phase = Phase::kStarting;
    host_.Event(pod_, true, "Failed", std::string(process.status().message()));
    OnExit(spec, {.exit_code = kCannotRunExit});
    state.termination->reason = "StartError";
    state.termination->message = std::string(process.status().message());
    return;
  }
  if (!process.ok()) return DeferStart(spec, "CreateContainerConfigError", process.status());
  (void)base::RemoveAll(ContainerFolder(spec.name) + "/termination-log");  // Of the run before.

  if (restarts) ++state.restarts;
  ContainerRunOptions options;
  options.spec = spec;
  options.address = facts_.pod_ip;
  options.log_path = LogPath(spec.name, state.restarts);
  options.process = *process;
  options.exec_command = [this, mappings = Mappings(spec)](const std::vector<std::string>& words) {
    std::vector<std::string> out;
    for (const std::string& word : words) out.push_back(RewritePaths(word, mappings));
    const absl::StatusOr<std::string> path = FindProgram(out.at(0), options_.images);
    if (!path.ok()) return std::vector<std::string>{};
    out[0] = *path;
    return out;
  };
  // Two runs back, only the last one's log is of use.
  if (state.restarts > 1) {
    const std::string old = LogPath(spec.name, state.restarts - 2);
    for (int age = 0; age < LogLimits().files_max; ++age) {
      (void)base::RemoveAll(age == 0 ? old : absl::StrFormat("%s.%d", old, age));
    }
  }
  absl::StatusOr<std::unique_ptr<ContainerRun>> run =
      ContainerRun::Start(loop_, std::move(options), CallbacksOf(spec));
  if (!run.ok()) return DeferStart(spec, "CreateContainerError", run.status());
  if (state.termination) state.last = std::exchange(state.termination, std::nullopt);
  state.phase = Phase::kStarting;
  state.started = state.ready = state.stopping = false;
  state.waiting_reason.clear();
  state.waiting_message.clear();
  state.start_backoff = absl::ZeroDuration();
  state.started_at = absl::Now();
  state.container_id = absl::StrFormat("local://%s-%s-%d", pod_.uid(), spec.name, state.restarts);
  runs_[spec.name] = std::move(*run);
  host_.Event(pod_, false, "Pulled",
              absl::StrFormat("Container image \"%s\" already present on machine", spec.image));
  host_.Event(pod_, false, "Created", absl::StrFormat("Created container: %s", spec.name));
}

absl::StatusOr<ProcessOptions> PodWorker::ExecProcess(const std::string& container,
                                                      const std::vector<std::string>& command) {
  const ContainerSpec* found = spec_.Find(container);
  const auto state = states_.find(container);
  if (found == nullptr || state == states_.end() || state->second.phase != Phase::kRunning) {
    return absl::FailedPreconditionError(
        absl::StrFormat("container %s of pod %s is not running", container, pod_.name()));
  }
  if (command.empty()) return absl::InvalidArgumentError("you must specify a command");
  ContainerSpec spec = *found;
  spec.command = command;
  spec.args.clear();
  return ProcessOf(spec, {});
}

absl::Status PodWorker::PrepareVolumesNow() {
  if (volumes_ready_) return absl::OkStatus();
  ASSIGN_OR_RETURN(volumes_, PrepareVolumes(pod_, host_.Sources(pod_),
                                            {.pod_folder = folder_,
                                             .claim_folder = options_.claim_folder,
                                             .host_paths = options_.host_paths}));
  volumes_ready_ = true;
  if (HasChangingVolumes(pod_)) {
    refresh_ = loop_.After(kVolumeRefresh, [this] { RefreshVolumes(); });
  }
  return absl::OkStatus();
}

void PodWorker::RefreshVolumes() {
  if (runs_.empty() || stopping()) {
    volumes_ready_ = false;  // The next start prepares them again.
    return;
  }
  const auto volumes = PrepareVolumes(pod_, host_.Sources(pod_),
                                      {.pod_folder = folder_,
                                       .claim_folder = options_.claim_folder,
                                       .host_paths = options_.host_paths});
  if (!volumes.ok()) {
    base::LogWarning("volume not refreshed",
                     {{"pod", pod_.key().ToString()}, {"error", volumes.status()}});
  }
  refresh_ = loop_.After(kVolumeRefresh, [this] { RefreshVolumes(); });
}

std::vector<PathMapping> PodWorker::Mappings(const ContainerSpec& spec) const {
  std::vector<PathMapping> mappings;
  for (const MountSpec& mount : spec.mounts) {
    const auto volume = volumes_.find(mount.volume);
    if (volume == volumes_.end()) continue;
    mappings.push_back({mount.path, mount.sub_path.empty()
                                        ? volume->second
                                        : volume->second + "/" + mount.sub_path});
  }
  mappings.push_back(
      {spec.termination_message_path, ContainerFolder(spec.name) + "/termination-log"});
  return mappings;
}

absl::StatusOr<ProcessOptions> PodWorker::ProcessOf(const ContainerSpec& spec,
                                                    const Program& program) {
  const std::string folder = ContainerFolder(spec.name);
  RETURN_IF_ERROR(base::CreateDirectories(folder));
  ASSIGN_OR_RETURN(const auto variables, BuildEnvironment(pod_, spec.name, host_.Sources(pod_)));
  const std::vector<PathMapping> mappings = Mappings(spec);
  const auto rewrite = [&](std::string_view word) {
    return RewriteClusterNames(RewritePaths(word, mappings),
                               [this](std::string_view name) { return host_.ResolveName(name); });
  };
  std::map<std::string, std::string, std::less<>> values(variables.begin(), variables.end());
  const auto words = [&](const std::vector<std::string>& from) {
    std::vector<std::string> out;
    for (const std::string& word : from) out.push_back(rewrite(ExpandVariables(word, values)));
    return out;
  };

  ProcessOptions process;
  process.keeper = options_.keeper;
  process.folder = spec.working_dir.empty() ? folder : RewritePaths(spec.working_dir, mappings);
  if (!base::FileExists(process.folder)) process.folder = folder;
  std::vector<std::string> command = words(spec.command);
  if (command.empty()) {
    process.program = program.path;
    process.arguments = program.arguments;
  } else {
    ASSIGN_OR_RETURN(process.program, FindProgram(command[0], options_.images));
    process.arguments.assign(command.begin() + 1, command.end());
  }
  const std::vector<std::string> args = words(spec.args);
  process.arguments.insert(process.arguments.end(), args.begin(), args.end());
  process.environment = options_.base_environment;
  process.environment.push_back("HOME=" + folder);
  process.environment.push_back(absl::StrFormat("HOSTNAME=%s", pod_.name()));
  for (const auto& [name, value] : variables) {
    std::erase_if(process.environment,
                  [&](const std::string& entry) { return entry.starts_with(name + "="); });
    process.environment.push_back(name + "=" + rewrite(value));
  }
  return process;
}

}  // namespace local_cluster

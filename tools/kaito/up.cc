// kaito up: starts local-cluster, waits until everything answers, and stays or leaves it running.

#include <filesystem>

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

#include "common/base/files.h"
#include "common/base/signals.h"
#include "common/base/status_macros.h"
#include "common/net/http_client.h"
#include "kaito/cluster_process.h"
#include "kaito/cluster_state.h"
#include "kaito/progress.h"
#include "kaito/verbs.h"

namespace kaito {
namespace {

constexpr absl::Duration kStartTimeout = absl::Seconds(60);
constexpr absl::Duration kLook = absl::Milliseconds(25);
constexpr absl::Duration kStopGrace = absl::Seconds(45);

// Where the manifests lie: beside an installed binary, or in the source tree of a built one.
absl::StatusOr<std::string> FindDeployFolder(const Options& options,
                                             const Environment& environment) {
  std::vector<std::string> places = {options.deploy_dir};
  if (options.deploy_dir.empty()) {
    std::filesystem::path folder = environment.bin_folder;
    places = {(folder / "../share/kaito/deploy").lexically_normal().string()};
    for (int i = 0; i < 5 && folder.has_relative_path(); ++i, folder = folder.parent_path()) {
      places.push_back((folder / "deploy").string());
    }
  }
  for (const std::string& place : places) {
    if (base::FileExists(place + "/crds")) return std::filesystem::absolute(place).string();
  }
  return absl::InternalError(
      absl::StrFormat("no folder deploy/crds at %s: name it with --deploy-dir", places.front()));
}

absl::StatusOr<std::vector<std::string>> Command(const Options& options,
                                                 const Environment& environment,
                                                 const StateFolder& folder) {
  const std::string binary = environment.bin_folder + "/local-cluster";
  if (!base::FileExists(binary)) {
    return absl::InternalError(
        absl::StrFormat("%s is missing: build it, or install the package again", binary));
  }
  ASSIGN_OR_RETURN(const std::string deploy, FindDeployFolder(options, environment));
  std::vector<std::string> command = {binary, "--state_dir=" + folder.path,
                                      "--bin_dir=" + environment.bin_folder,
                                      "--deploy_dir=" + deploy, "--name=" + options.name};
  if (options.api_port != 0) command.push_back(absl::StrFormat("--api_port=%d", options.api_port));
  if (!options.model_dir.empty()) {
    command.push_back("--model_dir=" + std::filesystem::absolute(options.model_dir).string());
  }
  for (const std::string& map : options.host_path_map) {
    command.push_back("--host_path_map=" + map);
  }
  if (!options.controllers) command.emplace_back("--no-controllers");
  return command;
}

// One `up` or `down` at a time for a folder.
class FolderLock {
 public:
  static absl::StatusOr<FolderLock> Take(const StateFolder& folder) {
    const std::string path = folder.path + "/cli.lock";
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return base::ErrnoStatus(errno, absl::StrFormat("open %s", path));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
      close(fd);
      return absl::AlreadyExistsError(absl::StrFormat(
          "another `kaito up` is starting this cluster (%s): wait for it, or use --name for a "
          "second one",
          folder.path));
    }
    return FolderLock(fd);
  }
  FolderLock(FolderLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FolderLock& operator=(FolderLock&&) = delete;
  ~FolderLock() { Release(); }
  void Release() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }

 private:
  explicit FolderLock(int fd) : fd_(fd) {}
  int fd_;
};

absl::Status Interrupted() { return absl::CancelledError("interrupted"); }

bool IsReady(const ProcessInfo& process) {
  for (const char* port_name : {"health", "health_probe", "probe"}) {
    const auto port = process.ports.find(port_name);
    if (port == process.ports.end()) continue;
    net::HttpClient http({.base_url = absl::StrFormat("http://127.0.0.1:%d", port->second),
                          .connect_timeout = absl::Milliseconds(500)});
    const auto response = http.Send({.target = "/readyz"}, absl::Seconds(2));
    return response.ok() && response->status == 200;
  }
  return process.pid > 0;  // It shows no health.
}

void PrintAccess(const ClusterStatus& status, const Streams& streams) {
  streams.out << "kubeconfig " << status.kubeconfig << "\n";
  streams.out << "api        " << status.api << "\n";
  if (!status.arm.empty()) streams.out << "arm        " << status.arm << "\n";
  for (const ProcessInfo& process : status.processes) {
    const auto port = process.ports.find("metrics");
    if (port == process.ports.end()) continue;
    streams.out << absl::StrFormat("metrics    http://127.0.0.1:%d/metrics (%s)\n", port->second,
                                   process.name);
  }
  streams.out << std::flush;
}

// A start, step by step.
class Start {
 public:
  Start(const Options& options, const Environment& environment, const Streams& streams,
        StateFolder folder)
      : options_(options),
        environment_(environment),
        err_(streams.err),
        folder_(std::move(folder)),
        progress_(options, environment, streams.err),
        deadline_(absl::Now() +
                  (options.timeout > absl::ZeroDuration() ? options.timeout : kStartTimeout)) {}

  // Until all is ready. What was started is stopped again when it fails.
  absl::StatusOr<ClusterStatus> Run() {
    RETURN_IF_ERROR(Launch());
    const absl::Status api = AwaitApi();
    absl::StatusOr<ClusterStatus> status = api.ok() ? AwaitProcesses() : api;
    if (!status.ok()) {
      progress_.Doing("stopping");
      (void)Stop();
    }
    return status;
  }

  // Until a signal, or until the cluster ends by itself.
  absl::Status Stay() {
    while (base::WaitForStopSignal(absl::Milliseconds(200)) == 0) {
      child_->ReadLine(absl::ZeroDuration());
      if (!child_->Running()) return Died();
    }
    Progress stopping(options_, environment_, err_);  // Counts its own time.
    stopping.Doing("stopping");
    RETURN_IF_ERROR(Stop());
    stopping.Done("stopped");
    return absl::OkStatus();
  }

  Progress& progress() { return progress_; }

 private:
  std::string log() const { return folder_.log_file("local-cluster"); }

  absl::Status Launch() {
    ASSIGN_OR_RETURN(const std::vector<std::string> command,
                     Command(options_, environment_, folder_));
    RETURN_IF_ERROR(base::CreateDirectories(folder_.log_folder()));
    log_begin_ = FileSize(log());
    ASSIGN_OR_RETURN(child_, ChildProcess::Start(command, log(), options_.detach));
    progress_.Doing(absl::StrFormat("starting local-cluster (pid %d)", child_->pid()));
    return absl::OkStatus();
  }

  absl::Status Died() const {
    std::string reason = LastError(log(), log_begin_);
    constexpr std::string_view kPrefix = "local-cluster: ";
    if (reason.starts_with(kPrefix)) reason.erase(0, kPrefix.size());
    if (reason.empty()) reason = child_->exit_text();
    return absl::InternalError(absl::StrFormat("local-cluster: %s (log: %s)", reason, log()));
  }

  // One look: did the user or the cluster end it?
  absl::Status Check() {
    if (base::WaitForStopSignal(kLook) != 0) return Interrupted();
    if (!child_->Running()) return Died();
    if (absl::Now() >= deadline_) {
      const std::string error = LastError(folder_.log_file(waiting_), 0);
      return absl::FailedPreconditionError(absl::StrFormat(
          "%s is not ready in time%s%s: see %s, or give it longer with --timeout", waiting_,
          error.empty() ? "" : ", its last error is ", error, folder_.log_file(waiting_)));
    }
    return absl::OkStatus();
  }

  absl::Status AwaitApi() {
    while (true) {
      while (const std::optional<std::string> line = child_->ReadLine(absl::ZeroDuration())) {
        if (!line->starts_with("ready ")) continue;
        progress_.Done("API server is ready");
        return absl::OkStatus();
      }
      RETURN_IF_ERROR(Check());
    }
  }

  absl::StatusOr<ClusterStatus> AwaitProcesses() {
    std::map<std::string, bool> told;
    while (true) {
      ASSIGN_OR_RETURN(std::optional<ClusterStatus> status, ReadClusterStatus(folder_));
      std::string waiting;
      std::map<std::string, bool> seen;
      for (const ProcessInfo& process : status ? status->processes : std::vector<ProcessInfo>()) {
        seen[process.name] = true;
        if (told[process.name]) continue;
        if (IsReady(process)) {
          told[process.name] = true;
          progress_.Done(process.name + " is ready");
        } else if (waiting.empty()) {
          waiting = process.name;
        }
      }
      if (options_.controllers) {
        for (const char* needed : {"gpu-provisioner", "workspace-controller"}) {
          if (!seen[needed] && waiting.empty()) waiting = needed;
        }
      }
      if (status && waiting.empty()) return *std::move(status);
      waiting_ = waiting.empty() ? "local-cluster" : waiting;
      progress_.Doing("waiting for " + waiting_);
      RETURN_IF_ERROR(Check());
    }
  }

  absl::Status Stop() {
    const std::vector<ProcessInfo> cluster = {
        {.name = "local-cluster", .pid = child_->pid(), .ports = {}}};
    absl::Status ended = EndProcesses(cluster, kStopGrace, [this] { (void)child_->Running(); });
    const std::vector<ProcessInfo> left = FindProcesses(folder_, environment_.bin_folder);
    if (left.empty()) return ended;
    return EndProcesses(left, absl::Seconds(5), nullptr);
  }

  const Options& options_;
  const Environment& environment_;
  std::ostream& err_;
  const StateFolder folder_;
  Progress progress_;
  const absl::Time deadline_;
  std::unique_ptr<ChildProcess> child_;
  uint64_t log_begin_ = 0;
  std::string waiting_ = "local-cluster";  // The process that is not ready yet.
};

// Why the running cluster is not the one that is wanted; "" when it is.
std::string Difference(const Options& options, const ClusterStatus& status) {
  if (options.api_port != 0) {
    const std::string port = absl::StrFormat(":%d", options.api_port);
    if (!status.api.ends_with(port)) {
      return absl::StrFormat("it serves at %s, not on port %d", status.api, options.api_port);
    }
  }
  if (!status.name.empty() && options.name_given && status.name != options.name) {
    return absl::StrFormat("its name is \"%s\"", status.name);
  }
  return "";
}

absl::Status Adopt(const Options& options, const Environment& environment, const Streams& streams,
                   const ClusterStatus& status) {
  const std::string difference = Difference(options, status);
  if (!difference.empty()) {
    return absl::AlreadyExistsError(absl::StrFormat(
        "a cluster is running here (pid %d), but %s: stop it with `kaito down`, or use --name",
        status.pid, difference));
  }
  Progress progress(options, environment, streams.err);
  progress.Note(absl::StrFormat("already running (pid %d); `kaito down` stops it", status.pid));
  PrintAccess(status, streams);
  return absl::OkStatus();
}

}  // namespace

absl::Status Up(const Options& options, const Environment& environment, const Streams& streams) {
  base::BlockStopSignals();
  // A closed terminal stops the cluster as Ctrl-C does.
  signal(SIGHUP, [](int) { kill(getpid(), SIGTERM); });

  ASSIGN_OR_RETURN(const StateFolder folder, FindStateFolder(options, environment));
  RETURN_IF_ERROR(base::CreateDirectories(folder.path));
  ASSIGN_OR_RETURN(FolderLock lock, FolderLock::Take(folder));
  ASSIGN_OR_RETURN(const std::optional<ClusterStatus> running, ReadClusterStatus(folder));
  if (running && IsAliveAs(running->pid, "local-cluster")) {
    return Adopt(options, environment, streams, *running);
  }

  Start start(options, environment, streams, folder);
  absl::StatusOr<ClusterStatus> status = start.Run();
  RETURN_IF_ERROR(status.status());
  lock.Release();
  PrintAccess(*status, streams);
  start.progress().Note(absl::StrFormat("use it: export KUBECONFIG=%s", status->kubeconfig));
  if (options.detach) return absl::OkStatus();
  start.progress().Note("Ctrl-C stops it");
  return start.Stay();
}

}  // namespace kaito

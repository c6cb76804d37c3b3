// One Pod's life on this machine.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/json/fwd.hpp>

#include "common/kube/object.h"
#include "local-cluster/apiserver/pod_streams.h"
#include "local-cluster/runner/container_run.h"
#include "local-cluster/runner/image.h"
#include "local-cluster/runner/pod_plan.h"
#include "local-cluster/runner/pod_sources.h"
#include "local-cluster/runner/pod_status.h"
#include "local-cluster/runner/volumes.h"

namespace local_cluster {

// What containerd reports when a program cannot be executed.
inline constexpr int kCannotRunExit = 128;

struct PodWorkerOptions {
  std::string keeper;        // Path of the binary pod-keeper.
  std::string pods_folder;   // Each Pod's files lie in "UID" below it.
  std::string claim_folder;  // PersistentVolumeClaims.
  ImageOptions images;
  std::vector<PathMapping> host_paths;
  // First in every container's environment: PATH, LANG, the mark by which strays are found.
  std::vector<std::string> base_environment;
};

// What a worker asks of its surroundings. Called on the loop's thread; none of them blocks for
// long.
class PodHost {
 public:
  virtual ~PodHost() = default;
  virtual PodSources Sources(const kube::Object& pod) = 0;
  // The address of "service.namespace" or "pod.service.namespace".
  virtual std::optional<std::string> ResolveName(std::string_view name) = 0;
  virtual void PublishStatus(const kube::Object& pod, boost::json::value status) = 0;
  // Its processes are gone and its last status is published: the object may go.
  virtual void PublishEnd(const kube::Object& pod) = 0;
  virtual void Event(const kube::Object& pod, bool warning, std::string_view reason,
                     std::string_view note) = 0;
};

// Loop's thread only. Destroying it kills what runs.
class PodWorker {
 public:
  // Begins at once. Containers that `pod`'s status shows as running have died with an earlier
  // process of ours.
  PodWorker(EventLoop& loop, PodHost& host, const PodWorkerOptions& options, kube::Object pod);
  ~PodWorker();

  // The object changed: a deletion time stops the containers.
  void Update(kube::Object pod);

  // The object is gone (forced deletion): ends everything within `grace`, then calls `done`.
  void Abandon(absl::Duration grace, std::function<void()> done);

  // See PodStreams::OpenLog.
  absl::Status OpenLog(const PodLogOptions& options, const std::shared_ptr<LogSink>& sink);

  // How a further program runs beside `container`'s: kubectl exec. kFailedPrecondition when that
  // does not run, kNotFound for an unknown program.
  absl::StatusOr<ProcessOptions> ExecProcess(const std::string& container,
                                             const std::vector<std::string>& command);

  const kube::Object& pod() const { return pod_; }
  const std::string& folder() const { return folder_; }

  // Process ids and memory limits of what runs: for whoever watches the memory.
  struct Watched {
    pid_t pid;
    int64_t memory_limit_bytes;
    std::function<void()> kill;
  };
  std::vector<Watched> watched();

 private:
  void Step();
  void StepLater();
  void StartContainer(const ContainerSpec& spec);
  absl::Status TryStart(const ContainerSpec& spec);
  void DeferStart(const ContainerSpec& spec, std::string_view reason, const absl::Status& why);
  ContainerRun::Callbacks CallbacksOf(const ContainerSpec& spec);
  void OnExit(const ContainerSpec& spec, const ProcessExit& exit);
  void OnProbe(const ContainerSpec& spec, ProbeKind kind, bool ok);
  void StopContainer(const std::string& name, absl::Duration grace);
  absl::StatusOr<ProcessOptions> ProcessOf(const ContainerSpec& spec, const Program& program);
  std::vector<PathMapping> Mappings(const ContainerSpec& spec) const;
  std::string TerminationMessage(const ContainerSpec& spec, int exit_code) const;
  std::string ContainerFolder(const std::string& name) const;
  std::string LogPath(const std::string& name, int run) const;
  absl::Status PrepareVolumesNow();
  void RefreshVolumes();
  void FailAsAWhole(std::string_view reason, std::string_view message);
  absl::Duration Grace() const;
  bool stopping() const;
  void Publish();

  EventLoop& loop_;
  PodHost& host_;
  const PodWorkerOptions& options_;
  kube::Object pod_;
  std::string folder_;
  PodSpec spec_;
  absl::Status spec_error_;
  ContainerStates states_;
  PodFacts facts_;
  std::map<std::string, std::unique_ptr<ContainerRun>> runs_;
  std::map<std::string, std::string> volumes_;
  bool volumes_ready_ = false;
  std::unique_ptr<kube::Object> published_;  // pod_ with the status we wrote last.
  bool end_published_ = false;
  std::function<void()> abandoned_;
  EventLoop::TimerId wake_ = 0;
  EventLoop::TimerId refresh_ = 0;
  EventLoop::TimerId deadline_ = 0;
  bool step_queued_ = false;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace local_cluster

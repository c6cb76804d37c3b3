// The kubelet's role: the Pods of this machine's Nodes as processes.

#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"

#include "common/kube/client.h"
#include "common/kube/events.h"
#include "common/kube/informer.h"
#include "local-cluster/apiserver/pod_streams.h"
#include "local-cluster/runner/addresses.h"
#include "local-cluster/runner/event_loop.h"
#include "local-cluster/runner/exec_session.h"
#include "local-cluster/runner/pod_worker.h"
#include "local-cluster/runner/status_writer.h"

namespace local_cluster {

struct RunnerOptions {
  std::string state_dir;  // Pods lie in "pods", claims in "volumes".
  std::string keeper;     // Path of the binary pod-keeper.
  ImageOptions images;
  std::vector<PathMapping> host_paths;
  std::string path;  // PATH and LANG of containers.
  std::string lang;
};

// Borrowed; synced or not, not started yet.
struct RunnerInformers {
  kube::Informer& pods;
  kube::Informer& nodes;
  kube::Informer& services;
};

// One thread runs all pods. What an earlier, killed run of this program left behind is ended first.
class Runner final : public PodStreams, private PodHost {
 public:
  Runner(kube::Client& client, RunnerInformers informers, RunnerOptions options);
  ~Runner() override;

  // After the informers' first lists. Pods that ran before are run again as their restart policy
  // says.
  absl::Status Start();

  // Ends all containers: SIGTERM, then SIGKILL after `grace`. Their Pods stay, to be run again.
  void Stop(absl::Duration grace);

  absl::Status OpenLog(const PodLogOptions& options, std::shared_ptr<LogSink> sink) override;
  // exec and attach, by WebSocket.
  absl::Status OpenConnection(const PodConnection& connection,
                              std::shared_ptr<net::Exchange> exchange) override;

  // The mark in every container's environment.
  static std::string Mark(const std::string& state_dir);

 private:
  PodSources Sources(const kube::Object& pod) override;
  std::optional<std::string> ResolveName(std::string_view name) override;
  void PublishStatus(const kube::Object& pod, boost::json::value status) override;
  void PublishEnd(const kube::Object& pod) override;
  void Event(const kube::Object& pod, bool warning, std::string_view reason,
             std::string_view note) override;

  void OnPod(const kube::InformerEvent& event);
  void Admit(const kube::Object& pod);
  void Forget(const std::string& uid);
  PodWorker* FindWorker(std::string_view namespace_name, std::string_view pod);
  absl::Status Exec(PodWorker& worker, const PodConnection& connection,
                    const std::shared_ptr<net::Exchange>& exchange);
  absl::Status Attach(PodWorker& worker, const PodConnection& connection,
                      const std::shared_ptr<net::Exchange>& exchange);
  void WatchMemory();
  void RemoveOldFolders();
  absl::StatusOr<std::string> TokenOf(const kube::Object& pod, std::string_view audience,
                                      int64_t seconds);

  kube::Client& client_;
  RunnerInformers informers_;
  RunnerOptions options_;
  PodWorkerOptions worker_options_;
  PodAddresses addresses_;
  StatusWriter status_;
  kube::EventRecorder events_;
  std::map<std::string, std::unique_ptr<PodWorker>> workers_;  // By uid; the loop's.
  std::map<uint64_t, std::unique_ptr<ExecSession>> sessions_;
  uint64_t next_session_ = 0;
  std::map<std::string, std::pair<std::string, absl::Time>> tokens_;
  bool started_ = false;
  bool stopping_ = false;
  EventLoopThread loop_thread_;
  EventLoop& loop_;
};

}  // namespace local_cluster

// A local cluster of the real binaries in a folder of its own, looked at from outside.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "common/kube/client.h"
#include "common/kube/kubeconfig.h"
#include "common/net/http_client.h"
#include "integration-tests/support/command.h"

namespace integration {

// Polls `condition` until it holds; false at the timeout.
bool Await(const std::function<bool()>& condition, absl::Duration timeout);

// Path of a built binary.
std::string Binary(std::string_view name);
// Path of a file of the project.
std::string SourcePath(std::string_view path);
// The sample model's file, or "" where it has not been fetched.
std::string SampleModel();

// The example Workspace; its name.
inline constexpr std::string_view kExample = "deploy/examples/inference/smollm2-135m.yaml";
inline constexpr std::string_view kWorkspace = "workspace-smollm2";

class Cluster {
 public:
  // Makes a fresh folder; starts nothing.
  Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;
  // Stops everything and removes the folder. When the test has failed the logs are printed first.
  ~Cluster();

  const std::string& state_dir() const { return state_dir_; }
  std::string kubeconfig() const { return state_dir_ + "/kubeconfig"; }

  // `kaito VERB --state-dir … arguments`.
  CommandResult Kaito(std::string_view verb, const std::vector<std::string>& arguments = {},
                      absl::Duration timeout = absl::Seconds(60)) const;
  // `kaito up --detach`; fails the test when that fails.
  void Up();
  void Down();

  // After Up(). A new client each time: the API server may have been restarted.
  kube::Client& client();
  // Applies every document of a manifest (server-side, as field manager "test").
  absl::Status Apply(const std::string& path);
  absl::Status ApplyText(std::string_view yaml);

  std::optional<kube::Object> Get(const kube::Resource& resource, const kube::ObjectKey& key);
  std::vector<kube::Object> List(const kube::Resource& resource);

  // status.conditions[type] of a Workspace of namespace default: "True Reason: message" or "".
  std::string ConditionText(std::string_view workspace, std::string_view type);
  bool AwaitCondition(std::string_view workspace, std::string_view type, std::string_view status,
                      absl::Duration timeout);

  // What `status.json` says.
  std::optional<kube::Object> StatusFile() const;
  std::string ArmUrl() const;
  // Pid of a process as `kaito status` names it, or of a binary that runs below this cluster; 0:
  // none.
  pid_t Pid(std::string_view name) const;

  // "http://127.96.0.5:80" of a Service's port as the host reaches it; "" while there is none.
  std::string ServiceUrl(std::string_view service, int port = 80);

  // One HTTP call; an error when nothing answers.
  absl::StatusOr<net::Response> Http(const std::string& url, std::string_view method,
                                     std::string_view target, std::string body = "",
                                     absl::Duration timeout = absl::Seconds(60)) const;

  // Processes whose command line names this cluster's folder.
  std::vector<pid_t> Processes() const { return ProcessesWith(state_dir_); }

  void PrintLogs() const;

 private:
  std::string state_dir_;
  kube::Connection connection_;
  std::unique_ptr<kube::Client> client_;
};

}  // namespace integration

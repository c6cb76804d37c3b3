// The folder of a local cluster, and what it says about the running one.

#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "kaito/options.h"

namespace kaito {

// Where things lie in the state folder; local-cluster writes them.
struct StateFolder {
  std::string path;
  std::string kubeconfig() const { return path + "/kubeconfig"; }
  std::string status_file() const { return path + "/status.json"; }
  std::string log_folder() const { return path + "/logs"; }
  std::string log_file(const std::string& process) const {
    return path + "/logs/" + process + ".log";
  }
};

// kInvalidArgument when neither a folder nor a home is known, or the name is none.
absl::StatusOr<StateFolder> FindStateFolder(const Options& options, const Environment& environment);

struct ProcessInfo {
  std::string name;
  int pid = 0;
  std::map<std::string, int> ports;
};

// status.json.
struct ClusterStatus {
  std::string name;
  int pid = 0;
  std::string kubeconfig;
  std::string api;
  std::string arm;
  std::vector<ProcessInfo> processes;
};

absl::StatusOr<ClusterStatus> ParseClusterStatus(std::string_view text);

// nullopt when the folder has none (never started, or deleted).
absl::StatusOr<std::optional<ClusterStatus>> ReadClusterStatus(const StateFolder& folder);

// True while the process exists and is no zombie.
bool IsAlive(int pid);

// True while `pid` is alive and runs a binary of this name: process numbers are used again.
bool IsAliveAs(int pid, std::string_view binary);

// Our own user's processes that run a binary of `bin_folder` and belong to this state folder: its
// path is in their arguments, or their working folder lies in it.
std::vector<ProcessInfo> FindProcesses(const StateFolder& folder, const std::string& bin_folder);

}  // namespace kaito

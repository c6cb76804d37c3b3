// What the runner reads of a Pod's spec, as plain structs.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "common/kube/object.h"

namespace local_cluster {

// A probe's or a hook's action.
struct ActionSpec {
  enum class Kind { kExec, kHttpGet, kTcpSocket, kGrpc, kSleep };
  Kind kind = Kind::kExec;
  std::vector<std::string> command;  // kExec
  std::string scheme = "HTTP";       // kHttpGet
  std::string host;                  // Empty: the pod's address.
  std::string path = "/";
  std::vector<std::pair<std::string, std::string>> headers;
  int port = 0;          // Named ports are resolved.
  std::string service;   // kGrpc
  absl::Duration sleep;  // kSleep
};

struct ProbeSpec {
  ActionSpec action;
  absl::Duration initial_delay;
  absl::Duration period = absl::Seconds(10);
  absl::Duration timeout = absl::Seconds(1);
  int success_threshold = 1;
  int failure_threshold = 3;
};

struct MountSpec {
  std::string volume;
  std::string path;
  std::string sub_path;  // Expanded already where it was an expression without variables.
  bool read_only = false;
};

struct ContainerSpec {
  std::string name;
  std::string image;
  std::vector<std::string> command;
  std::vector<std::string> args;
  std::string working_dir;
  std::vector<MountSpec> mounts;
  std::optional<ProbeSpec> startup;
  std::optional<ProbeSpec> liveness;
  std::optional<ProbeSpec> readiness;
  std::optional<ActionSpec> pre_stop;
  std::string termination_message_path = "/dev/termination-log";
  bool message_from_logs = false;  // FallbackToLogsOnError
  int64_t memory_limit_bytes = 0;  // 0: none.
  bool init = false;
  bool sidecar = false;  // An init container that runs on.
};

enum class RestartPolicy { kAlways, kOnFailure, kNever };

struct PodSpec {
  std::vector<ContainerSpec> containers;  // Init containers first, in order.
  RestartPolicy restart_policy = RestartPolicy::kAlways;
  absl::Duration grace = absl::Seconds(30);
  std::optional<absl::Duration> active_deadline;
  bool host_network = false;

  const ContainerSpec* Find(std::string_view name) const;
};

// kInvalidArgument where a named port does not exist.
absl::StatusOr<PodSpec> ParsePodSpec(const kube::Object& pod);

}  // namespace local_cluster

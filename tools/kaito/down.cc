// kaito down: ends a local cluster and everything that it started.

#include <algorithm>

#include "absl/strings/str_format.h"

#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "kaito/cluster_process.h"
#include "kaito/cluster_state.h"
#include "kaito/progress.h"
#include "kaito/verbs.h"

namespace kaito {
namespace {

constexpr absl::Duration kGrace = absl::Seconds(45);

// local-cluster ends its own processes in reverse order; what outlives it is ended here.
absl::Status StopAll(const Options& options, const Environment& environment,
                     const StateFolder& folder, const ClusterStatus* status, Progress& progress) {
  const absl::Duration grace = options.timeout > absl::ZeroDuration() ? options.timeout : kGrace;
  if (status != nullptr && IsAliveAs(status->pid, "local-cluster")) {
    progress.Doing(absl::StrFormat("stopping local-cluster (pid %d)", status->pid));
    RETURN_IF_ERROR(
        EndProcesses({{.name = "local-cluster", .pid = status->pid, .ports = {}}}, grace, nullptr));
  }
  const std::vector<ProcessInfo> left = FindProcesses(folder, environment.bin_folder);
  if (left.empty()) return absl::OkStatus();
  progress.Doing(absl::StrFormat("ending %d processes that were left", left.size()));
  return EndProcesses(left, absl::Seconds(10), nullptr);
}

// Nothing but a state folder is ever deleted.
absl::Status DeleteData(const StateFolder& folder) {
  const bool is_ours = base::FileExists(folder.status_file()) ||
                       base::FileExists(folder.path + "/ports.json") ||
                       base::FileExists(folder.kubeconfig());
  if (!is_ours) {
    return absl::NotFoundError(absl::StrFormat(
        "%s holds no cluster, so nothing was deleted: check --state-dir", folder.path));
  }
  return base::RemoveAll(folder.path);
}

}  // namespace

absl::Status Down(const Options& options, const Environment& environment, const Streams& streams) {
  ASSIGN_OR_RETURN(const StateFolder folder, FindStateFolder(options, environment));
  Progress progress(options, environment, streams.err);
  if (!base::FileExists(folder.path)) {
    progress.Note(absl::StrFormat("nothing to stop: %s does not exist", folder.path));
    return absl::OkStatus();
  }
  // A damaged status file must not keep the processes alive: they are found without it.
  const absl::StatusOr<std::optional<ClusterStatus>> read = ReadClusterStatus(folder);
  const ClusterStatus* status = read.ok() && read->has_value() ? &**read : nullptr;
  const bool was_running = (status != nullptr && IsAliveAs(status->pid, "local-cluster")) ||
                           !FindProcesses(folder, environment.bin_folder).empty();
  RETURN_IF_ERROR(StopAll(options, environment, folder, status, progress));
  progress.Done(was_running ? "stopped" : "nothing was running");
  if (!options.delete_data) return absl::OkStatus();
  RETURN_IF_ERROR(DeleteData(folder));
  progress.Done(absl::StrFormat("deleted %s", folder.path));
  return absl::OkStatus();
}

}  // namespace kaito

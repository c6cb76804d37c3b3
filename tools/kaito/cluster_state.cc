#include "kaito/cluster_state.h"

#include <algorithm>
#include <filesystem>

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/kube/json.h"

namespace kaito {
namespace {

namespace json = boost::json;
using kube::FindPath;
using kube::IntAt;
using kube::StringAt;

bool IsName(std::string_view name) {
  return !name.empty() && name.size() <= 63 && name[0] != '-' &&
         name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string_view::npos;
}

std::string ReadLink(const std::string& path) {
  std::error_code error;
  return std::filesystem::read_symlink(path, error).string();
}

std::string ProcPath(int pid, std::string_view file) {
  return absl::StrFormat("/proc/%d/%s", pid, file);
}

// After an upgrade the kernel says "/path/name (deleted)".
std::string ExecutableOf(int pid) {
  std::string path = ReadLink(ProcPath(pid, "exe"));
  constexpr std::string_view kDeleted = " (deleted)";
  if (path.ends_with(kDeleted)) path.resize(path.size() - kDeleted.size());
  return path;
}

bool IsInside(std::string_view path, std::string_view folder) {
  return path == folder ||
         (path.starts_with(folder) && path.size() > folder.size() && path[folder.size()] == '/');
}

// Arguments are separated by NUL; a path may also be the value in --flag=value.
bool MentionsFolder(std::string_view arguments, std::string_view folder) {
  for (size_t at = arguments.find(folder); at != std::string_view::npos;
       at = arguments.find(folder, at + 1)) {
    const char before = at == 0 ? '\0' : arguments[at - 1];
    const size_t end = at + folder.size();
    const char after = end == arguments.size() ? '\0' : arguments[end];
    if ((before == '\0' || before == '=' || before == ':') && (after == '\0' || after == '/')) {
      return true;
    }
  }
  return false;
}

}  // namespace

absl::StatusOr<StateFolder> FindStateFolder(const Options& options,
                                            const Environment& environment) {
  if (!options.state_dir.empty()) {
    // As local-cluster resolves it, so that its processes are recognised by it.
    std::error_code error;
    std::string path = std::filesystem::weakly_canonical(options.state_dir, error).string();
    if (error) path = std::filesystem::absolute(options.state_dir).lexically_normal().string();
    while (path.size() > 1 && path.ends_with('/')) path.pop_back();
    return StateFolder{.path = path};
  }
  if (!IsName(options.name)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "\"%s\" is no name for a cluster: use small letters, digits and dashes", options.name));
  }
  std::string base = environment.xdg_state_home;
  if (base.empty()) {
    if (environment.home.empty()) {
      return absl::InvalidArgumentError("neither HOME nor XDG_STATE_HOME is set: use --state-dir");
    }
    base = environment.home + "/.local/state";
  }
  return StateFolder{.path = base + "/kaito/" + options.name};
}

absl::StatusOr<ClusterStatus> ParseClusterStatus(std::string_view text) {
  ASSIGN_OR_RETURN(const json::value root, kube::ParseJson(text));
  ClusterStatus status{.name = std::string(StringAt(root, {"name"})),
                       .pid = static_cast<int>(IntAt(root, {"pid"})),
                       .kubeconfig = std::string(StringAt(root, {"kubeconfig"})),
                       .api = std::string(StringAt(root, {"api"})),
                       .arm = std::string(StringAt(root, {"arm"})),
                       .processes = {}};
  const json::value* processes = FindPath(root, {"processes"});
  if (processes == nullptr || !processes->is_array()) return status;
  for (const json::value& element : processes->as_array()) {
    ProcessInfo process{.name = std::string(StringAt(element, {"name"})),
                        .pid = static_cast<int>(IntAt(element, {"pid"})),
                        .ports = {}};
    const json::value* ports = FindPath(element, {"ports"});
    if (ports != nullptr && ports->is_object()) {
      for (const auto& port : ports->as_object()) {
        const std::string name(std::string_view(port.key()));
        process.ports[name] = static_cast<int>(IntAt(*ports, {name}));
      }
    }
    status.processes.push_back(std::move(process));
  }
  return status;
}

absl::StatusOr<std::optional<ClusterStatus>> ReadClusterStatus(const StateFolder& folder) {
  const absl::StatusOr<std::string> text = base::ReadFile(folder.status_file(), 4 << 20);
  if (absl::IsNotFound(text.status())) return std::optional<ClusterStatus>();
  RETURN_IF_ERROR(text.status());
  absl::StatusOr<ClusterStatus> status = ParseClusterStatus(*text);
  if (!status.ok()) return base::Annotate(status.status(), folder.status_file());
  return std::optional<ClusterStatus>(*std::move(status));
}

bool IsAlive(int pid) {
  if (pid <= 0) return false;
  const absl::StatusOr<std::string> stat = base::ReadFile(ProcPath(pid, "stat"), 4096);
  if (!stat.ok()) return false;
  // "pid (name) state": the name may hold anything, so look from its end.
  const size_t name_end = stat->rfind(')');
  return name_end != std::string::npos && name_end + 2 < stat->size() &&
         (*stat)[name_end + 2] != 'Z' && (*stat)[name_end + 2] != 'X';
}

bool IsAliveAs(int pid, std::string_view binary) {
  return IsAlive(pid) && std::filesystem::path(ExecutableOf(pid)).filename().string() == binary;
}

std::vector<ProcessInfo> FindProcesses(const StateFolder& folder, const std::string& bin_folder) {
  std::vector<ProcessInfo> found;
  const absl::StatusOr<std::vector<std::string>> entries = base::ListDirectory("/proc");
  if (!entries.ok()) return found;
  for (const std::string& entry : *entries) {
    int pid = 0;
    struct stat owner{};
    if (!absl::SimpleAtoi(entry, &pid) || pid == getpid()) continue;
    if (stat(("/proc/" + entry).c_str(), &owner) != 0 || owner.st_uid != geteuid()) continue;
    const std::filesystem::path executable = ExecutableOf(pid);
    if (executable.parent_path().string() != bin_folder) continue;
    if (executable.filename() == "kaito") continue;
    const bool inside = IsInside(ReadLink(ProcPath(pid, "cwd")), folder.path);
    const absl::StatusOr<std::string> arguments = base::ReadFile(ProcPath(pid, "cmdline"), 1 << 20);
    if (!inside && !(arguments.ok() && MentionsFolder(*arguments, folder.path))) continue;
    if (!IsAlive(pid)) continue;
    found.push_back({.name = executable.filename().string(), .pid = pid, .ports = {}});
  }
  return found;
}

}  // namespace kaito

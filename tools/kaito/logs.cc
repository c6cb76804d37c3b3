// kaito logs: what a Workspace's containers, or a process of the local cluster, wrote.

#include <deque>
#include <fstream>
#include <set>
#include <thread>

#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"

#include "boost/json.hpp"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/kube/json.h"
#include "kaito/cluster_process.h"
#include "kaito/cluster_state.h"
#include "kaito/kube_access.h"
#include "kaito/verbs.h"

namespace kaito {
namespace {

namespace json = boost::json;

constexpr absl::Duration kLook = absl::Milliseconds(200);

// Whole lines from several threads, each with its prefix.
class LineWriter {
 public:
  explicit LineWriter(std::ostream& out) : out_(out) {}
  void Write(const std::string& prefix, std::string_view line) {
    absl::MutexLock lock(&mutex_);
    out_ << prefix << line << "\n";
  }
  void Flush() {
    absl::MutexLock lock(&mutex_);
    out_ << std::flush;
  }

 private:
  absl::Mutex mutex_;
  std::ostream& out_ ABSL_GUARDED_BY(mutex_);
};

// The last `tail` lines, then, if wanted, what is appended, for ever.
absl::Status FollowFile(const std::string& path, const Options& options, std::ostream& out) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrFormat("no log at %s", path));
  std::deque<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    lines.push_back(line);
    if (options.tail >= 0 && lines.size() > static_cast<size_t>(options.tail)) lines.pop_front();
  }
  for (const std::string& line : lines) out << line << "\n";
  out << std::flush;
  uint64_t seen = FileSize(path);
  while (options.follow) {
    const uint64_t size = FileSize(path);
    if (size < seen) seen = 0;  // The file was begun anew.
    if (size > seen) {
      std::ifstream more(path, std::ios::binary);
      more.seekg(static_cast<std::streamoff>(seen));
      std::string text(size - seen, '\0');
      more.read(text.data(), static_cast<std::streamsize>(text.size()));
      text.resize(static_cast<size_t>(more.gcount()));
      out << text << std::flush;
      seen += text.size();
    }
    absl::SleepFor(kLook);
  }
  return absl::OkStatus();
}

struct ContainerLog {
  std::string pod;
  std::string container;
  bool operator<(const ContainerLog& other) const {
    return std::tie(pod, container) < std::tie(other.pod, other.container);
  }
};

std::vector<ContainerLog> ContainersOf(const kube::Object& pod) {
  std::vector<ContainerLog> logs;
  for (const char* list : {"initContainers", "containers"}) {
    const json::value* containers = pod.Find({"spec", list});
    if (containers == nullptr || !containers->is_array()) continue;
    for (const json::value& container : containers->as_array()) {
      logs.push_back({std::string(pod.name()), std::string(kube::StringAt(container, {"name"}))});
    }
  }
  return logs;
}

// Prints one container's log until it ends.
absl::Status CopyLog(Access& access, const ContainerLog& log, const Options& options,
                     const std::string& prefix, LineWriter& writer) {
  net::Request request{.target = kube::resources::kPods.Path(access.Key(log.pod), "log") +
                                 "?container=" + net::PercentEncode(log.container)};
  if (options.follow) request.target += "&follow=true";
  if (options.tail >= 0) request.target += absl::StrFormat("&tailLines=%d", options.tail);
  auto stream = access.client->RawStream(request);
  RETURN_IF_ERROR(stream.status());
  std::string buffer;
  while (true) {
    absl::StatusOr<std::string> bytes = (*stream)->Read(absl::Hours(24));
    RETURN_IF_ERROR(bytes.status());
    if (bytes->empty()) break;
    buffer += *bytes;
    if ((*stream)->status() != 200) continue;
    for (size_t end = buffer.find('\n'); end != std::string::npos; end = buffer.find('\n')) {
      writer.Write(prefix, std::string_view(buffer).substr(0, end));
      buffer.erase(0, end + 1);
    }
    writer.Flush();
  }
  if ((*stream)->status() != 200) {
    return kube::StatusOfResponse({.status = (*stream)->status(), .body = buffer},
                                  absl::StrFormat("log of %s/%s", log.pod, log.container));
  }
  if (!buffer.empty()) writer.Write(prefix, buffer);
  writer.Flush();
  return absl::OkStatus();
}

std::string Prefix(const ContainerLog& log) {
  return absl::StrFormat("[%s %s] ", log.pod, log.container);
}

// Follows every container there is and every one that comes, until interrupted.
void FollowAll(Access& access, const std::string& selector, const Options& options,
               LineWriter& writer) {
  absl::Mutex mutex;
  std::set<ContainerLog> followed;  // Guarded by mutex.
  std::vector<std::jthread> threads;
  while (true) {
    const auto pods =
        access.client->List(kube::resources::kPods,
                            {.namespace_name = access.namespace_name, .label_selector = selector});
    for (const kube::Object& pod : pods.ok() ? pods->items : std::vector<kube::Object>()) {
      for (const ContainerLog& log : ContainersOf(pod)) {
        {
          absl::MutexLock lock(&mutex);
          if (!followed.insert(log).second) continue;
        }
        threads.emplace_back([&access, &options, &writer, &mutex, &followed, log] {
          (void)CopyLog(access, log, options, Prefix(log), writer);
          absl::SleepFor(absl::Seconds(1));
          absl::MutexLock lock(&mutex);  // It ended or was not there yet: look again.
          followed.erase(log);
        });
      }
    }
    absl::SleepFor(absl::Seconds(1));
  }
}

absl::Status WorkspaceLogs(const std::string& workspace, const Options& options,
                           const Environment& environment, const Streams& streams) {
  ASSIGN_OR_RETURN(Access access, OpenAccess(options, environment));
  RETURN_IF_ERROR(GetWorkspace(access, workspace).status());
  const std::string selector = "kaito.sh/workspace=" + workspace;
  LineWriter writer(streams.out);
  if (options.follow) FollowAll(access, selector, options, writer);
  ASSIGN_OR_RETURN(
      const kube::ObjectList pods,
      access.client->List(kube::resources::kPods,
                          {.namespace_name = access.namespace_name, .label_selector = selector}));
  if (pods.items.empty()) {
    return absl::NotFoundError(absl::StrFormat(
        "workspace %s has no pods yet; `kaito why %s` says why", workspace, workspace));
  }
  absl::Status last;
  bool any = false;
  for (const kube::Object& pod : pods.items) {
    for (const ContainerLog& log : ContainersOf(pod)) {
      const absl::Status status = CopyLog(access, log, options, Prefix(log), writer);
      any = any || status.ok();
      if (!status.ok()) last = status;
    }
  }
  return any ? absl::OkStatus() : last;
}

}  // namespace

absl::Status Logs(const std::string& target, const Options& options, const Environment& environment,
                  const Streams& streams) {
  const absl::StatusOr<StateFolder> folder = FindStateFolder(options, environment);
  const bool is_name = target.find('/') == std::string::npos && !target.starts_with('.');
  if (folder.ok() && is_name && options.kubeconfig.empty()) {
    const std::string path = folder->log_file(target);
    if (base::FileExists(path)) return FollowFile(path, options, streams.out);
  }
  return WorkspaceLogs(target, options, environment, streams);
}

}  // namespace kaito

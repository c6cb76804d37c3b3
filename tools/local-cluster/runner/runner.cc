#include "local-cluster/runner/runner.h"

#include <set>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"

#include "boost/json.hpp"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/kube/json.h"
#include "local-cluster/runner/memory.h"
#include "local-cluster/runner/node_heartbeat.h"

namespace local_cluster {
namespace {

namespace json = boost::json;

constexpr absl::Duration kMemoryInterval = absl::Seconds(1);
constexpr absl::Duration kForcedGrace = absl::Seconds(1);

}  // namespace

std::string Runner::Mark(const std::string& state_dir) {
  return absl::StrFormat("LOCAL_CLUSTER_STATE=%s", state_dir);
}

Runner::Runner(kube::Client& client, RunnerInformers informers, RunnerOptions options)
    : client_(client),
      informers_(informers),
      options_(std::move(options)),
      addresses_(options_.state_dir + "/pods/addresses"),
      status_(client),
      events_(client, {.reporting_controller = "kubelet", .reporting_instance = "local-cluster"}),
      loop_thread_("runner"),
      loop_(loop_thread_.loop()) {
  worker_options_ = {.keeper = options_.keeper,
                     .pods_folder = options_.state_dir + "/pods",
                     .claim_folder = options_.state_dir + "/volumes",
                     .images = options_.images,
                     .host_paths = options_.host_paths,
                     .base_environment = {"PATH=" + options_.path, "LANG=" + options_.lang,
                                          Mark(options_.state_dir)}};
  informers_.pods.AddHandler(
      [this](const kube::InformerEvent& event) { loop_.Post([this, event] { OnPod(event); }); });
  informers_.nodes.AddHandler([this](const kube::InformerEvent& event) {
    if (event.change != kube::Change::kAdded) return;
    // Its pods may have been seen first.
    loop_.Post([this, name = std::string(event.object.name())] {
      for (const kube::Object& pod : informers_.pods.Snapshot()->All()) {
        if (pod.StringAt({"spec", "nodeName"}) == name) Admit(pod);
      }
    });
  });
}

Runner::~Runner() { Stop(absl::ZeroDuration()); }

absl::Status Runner::Start() {
  RETURN_IF_ERROR(base::CreateDirectories(worker_options_.pods_folder));
  RETURN_IF_ERROR(addresses_.Load());
  if (const int killed = KillMarkedProcesses(Mark(options_.state_dir)); killed > 0) {
    base::LogWarning("processes of an earlier run ended", {{"processes", killed}});
  }
  loop_.Call([this] {
    started_ = true;
    RemoveOldFolders();
    for (const kube::Object& pod : informers_.pods.Snapshot()->All()) Admit(pod);
    loop_.After(kMemoryInterval, [this] { WatchMemory(); });
  });
  return absl::OkStatus();
}

void Runner::RemoveOldFolders() {
  const absl::StatusOr<std::vector<std::string>> entries =
      base::ListDirectory(worker_options_.pods_folder);
  if (!entries.ok()) return;
  std::set<std::string> known = {"addresses"};
  for (const kube::Object& pod : informers_.pods.Snapshot()->All()) known.emplace(pod.uid());
  for (const std::string& entry : *entries) {
    if (known.contains(entry)) continue;
    (void)base::RemoveAll(worker_options_.pods_folder + "/" + entry);
  }
}

void Runner::Stop(absl::Duration grace) {
  auto left = std::make_shared<int>(0);
  auto done = std::make_shared<absl::Notification>();
  loop_.Call([&] {
    if (std::exchange(stopping_, true)) {
      *left = -1;
      return;
    }
    *left = static_cast<int>(workers_.size());
    for (const auto& [uid, worker] : workers_) {
      worker->Abandon(grace, [left, done] {
        if (--*left == 0) done->Notify();
      });
    }
    if (*left == 0) *left = -1;
  });
  if (*left >= 0) done->WaitForNotificationWithTimeout(grace + absl::Seconds(5));
  loop_.Call([this] {
    sessions_.clear();
    workers_.clear();
  });
}

void Runner::OnPod(const kube::InformerEvent& event) {
  if (!started_ || stopping_) return;
  const std::string uid(event.object.uid());
  if (event.change != kube::Change::kDeleted) return Admit(event.object);
  const auto worker = workers_.find(uid);
  if (worker == workers_.end()) return;
  worker->second->Abandon(kForcedGrace, [this, uid] { loop_.Post([this, uid] { Forget(uid); }); });
}

void Runner::Admit(const kube::Object& pod) {
  if (!started_ || stopping_) return;
  const auto worker = workers_.find(std::string(pod.uid()));
  if (worker != workers_.end()) return worker->second->Update(pod);
  const std::string node_name(pod.StringAt({"spec", "nodeName"}));
  if (node_name.empty()) return;
  const std::optional<kube::Object> node = informers_.nodes.Find({"", node_name});
  if (!node || !IsLocalNode(*node)) return;
  PodHost& host = *this;
  workers_[std::string(pod.uid())] = std::make_unique<PodWorker>(loop_, host, worker_options_, pod);
}

void Runner::Forget(const std::string& uid) {
  const auto worker = workers_.find(uid);
  if (worker == workers_.end()) return;
  const std::string folder = worker->second->folder();
  workers_.erase(worker);
  std::erase_if(tokens_, [&](const auto& entry) { return entry.first.starts_with(uid + " "); });
  if (const absl::Status status = base::RemoveAll(folder); !status.ok()) {
    base::LogWarning("pod folder not removed", {{"error", status}});
  }
}

void Runner::WatchMemory() {
  std::vector<PodWorker::Watched> watched;
  for (const auto& [uid, worker] : workers_) {
    for (PodWorker::Watched& container : worker->watched()) watched.push_back(std::move(container));
  }
  if (!watched.empty()) {
    const ProcessTable processes = ReadProcessTable();
    for (const PodWorker::Watched& container : watched) {
      if (processes.MemoryOfTree(container.pid) > container.memory_limit_bytes) container.kill();
    }
  }
  loop_.After(kMemoryInterval, [this] { WatchMemory(); });
}

PodSources Runner::Sources(const kube::Object& pod) {
  PodSources sources;
  const std::string namespace_name(pod.namespace_name());
  sources.config_map = [this, namespace_name](std::string_view name) {
    return client_.Get(kube::resources::kConfigMaps, {namespace_name, std::string(name)});
  };
  sources.secret = [this, namespace_name](std::string_view name) {
    return client_.Get(kube::resources::kSecrets, {namespace_name, std::string(name)});
  };
  sources.token = [this, pod](std::string_view audience, int64_t seconds) {
    return TokenOf(pod, audience, seconds);
  };
  sources.pod_ip =
      pod.BoolAt({"spec", "hostNetwork"}) ? "127.0.0.1" : addresses_.Of(pod.key().ToString());
  const std::optional<kube::Object> node =
      informers_.nodes.Find({"", std::string(pod.StringAt({"spec", "nodeName"}))});
  if (node) {
    const auto quantity = [&](std::string_view name) {
      return kube::ParseQuantity(node->StringAt({"status", "allocatable", name})).value_or(0);
    };
    sources.node_cpu = quantity("cpu");
    sources.node_memory_bytes = quantity("memory");
  }
  return sources;
}

absl::StatusOr<std::string> Runner::TokenOf(const kube::Object& pod, std::string_view audience,
                                            int64_t seconds) {
  const std::string key = absl::StrFormat("%s %s", pod.uid(), audience);
  const auto cached = tokens_.find(key);
  if (cached != tokens_.end() && cached->second.second > absl::Now()) return cached->second.first;
  json::object spec{{"expirationSeconds", seconds},
                    {"boundObjectRef", json::object{{"apiVersion", "v1"},
                                                    {"kind", "Pod"},
                                                    {"name", std::string(pod.name())},
                                                    {"uid", std::string(pod.uid())}}}};
  if (!audience.empty()) spec["audiences"] = json::array{std::string(audience)};
  std::string account(pod.StringAt({"spec", "serviceAccountName"}));
  if (account.empty()) account = "default";
  net::Request request;
  request.method = "POST";
  request.target =
      kube::resources::kServiceAccounts.Path({std::string(pod.namespace_name()), account}, "token");
  request.headers.Set("content-type", "application/json");
  request.body = json::serialize(json::object{{"apiVersion", "authentication.k8s.io/v1"},
                                              {"kind", "TokenRequest"},
                                              {"spec", std::move(spec)}});
  ASSIGN_OR_RETURN(const net::Response response, client_.Raw(request));
  RETURN_IF_ERROR(kube::StatusOfResponse(response, "request a service account token"));
  ASSIGN_OR_RETURN(const kube::Object answer, kube::Object::Parse(response.body));
  std::string token(answer.StringAt({"status", "token"}));
  // Renewed after four fifths of its life, as kubelet does.
  tokens_[key] = {token, absl::Now() + absl::Seconds(seconds) * 0.8};
  return token;
}

std::optional<std::string> Runner::ResolveName(std::string_view name) {
  std::vector<std::string> parts(1);
  for (const char c : name) {
    if (c == '.') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  if (parts.size() == 3) return addresses_.Of(parts[2] + "/" + parts[0]);
  if (parts.size() != 2) return std::nullopt;
  const std::optional<kube::Object> service = informers_.services.Find({parts[1], parts[0]});
  if (!service) return std::nullopt;
  const std::string address(service->StringAt({"spec", "clusterIP"}));
  if (address.empty() || address == "None") return std::nullopt;
  return address;
}

void Runner::PublishStatus(const kube::Object& pod, json::value status) {
  status_.Put(pod, std::move(status));
}

void Runner::PublishEnd(const kube::Object& pod) { status_.PutEnd(pod); }

void Runner::Event(const kube::Object& pod, bool warning, std::string_view reason,
                   std::string_view note) {
  if (warning) {
    events_.Warning(pod, reason, note);
  } else {
    events_.Normal(pod, reason, note);
  }
}

PodWorker* Runner::FindWorker(std::string_view namespace_name, std::string_view pod) {
  for (const auto& [uid, worker] : workers_) {
    const kube::Object& object = worker->pod();
    if (object.name() == pod && object.namespace_name() == namespace_name) return worker.get();
  }
  return nullptr;
}

absl::Status Runner::OpenLog(const PodLogOptions& options, std::shared_ptr<LogSink> sink) {
  absl::Status status = absl::NotFoundError(
      absl::StrFormat("pod %s/%s does not run here", options.namespace_name, options.pod));
  loop_.Call([&] {
    PodWorker* worker = FindWorker(options.namespace_name, options.pod);
    if (worker != nullptr) status = worker->OpenLog(options, sink);
  });
  return status;
}

absl::Status Runner::OpenConnection(const PodConnection& connection,
                                    std::shared_ptr<net::Exchange> exchange) {
  absl::Status status = absl::NotFoundError(
      absl::StrFormat("pod %s/%s does not run here", connection.namespace_name, connection.pod));
  loop_.Call([&] {
    PodWorker* worker = FindWorker(connection.namespace_name, connection.pod);
    if (worker == nullptr) return;
    if (connection.subresource == "exec") {
      status = Exec(*worker, connection, exchange);
    } else if (connection.subresource == "attach") {
      status = Attach(*worker, connection, exchange);
    } else {
      status = absl::UnimplementedError(absl::StrFormat(
          "%s is not served here: pods and services answer on their own addresses of this host",
          connection.subresource));
    }
  });
  return status;
}

absl::Status Runner::Exec(PodWorker& worker, const PodConnection& connection,
                          const std::shared_ptr<net::Exchange>& exchange) {
  ASSIGN_OR_RETURN(ProcessOptions process,
                   worker.ExecProcess(connection.container, connection.command));
  ASSIGN_OR_RETURN(std::shared_ptr<ChannelSocket> socket, ChannelSocket::Accept(loop_, exchange));
  const uint64_t id = next_session_++;
  absl::StatusOr<std::unique_ptr<ExecSession>> session = ExecSession::Start(
      loop_, connection, socket, std::move(process), [this, id] { sessions_.erase(id); });
  if (session.ok()) {
    sessions_[id] = std::move(*session);
  } else {  // The upgrade is answered already: the error goes over the error channel.
    socket->Finish(126, std::string(session.status().message()));
  }
  return absl::OkStatus();
}

namespace {

// Shows a log to an attached client.
class AttachedSink final : public LogSink {
 public:
  AttachedSink(std::shared_ptr<ChannelSocket> socket, bool terminal)
      : socket_(std::move(socket)), terminal_(terminal) {}

  bool Write(std::string text) override {
    if (terminal_) {  // The client's terminal is in raw mode.
      std::string out;
      for (const char c : text) out += c == '\n' ? std::string("\r\n") : std::string(1, c);
      text = std::move(out);
    }
    socket_->WriteOutput(text);
    return true;
  }
  void End() override { socket_->Finish(0); }
  size_t unsent_bytes() const override { return socket_->unsent_bytes(); }
  void OnClose(std::function<void()>) override {}

 private:
  const std::shared_ptr<ChannelSocket> socket_;
  const bool terminal_;
};

}  // namespace

absl::Status Runner::Attach(PodWorker& worker, const PodConnection& connection,
                            const std::shared_ptr<net::Exchange>& exchange) {
  ASSIGN_OR_RETURN(std::shared_ptr<ChannelSocket> socket, ChannelSocket::Accept(loop_, exchange));
  const absl::Status status =
      worker.OpenLog({.container = connection.container, .follow = true},
                     std::make_shared<AttachedSink>(socket, connection.tty));
  if (!status.ok()) socket->Finish(1, std::string(status.message()));
  return absl::OkStatus();
}

}  // namespace local_cluster

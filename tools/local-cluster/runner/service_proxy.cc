#include "local-cluster/runner/service_proxy.h"

#include <cerrno>
#include <set>
#include <utility>

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/kube/json.h"

namespace local_cluster {
namespace {

namespace json = boost::json;

constexpr int kWorkers = 2;
constexpr char kServiceLabel[] = "kubernetes.io/service-name";
constexpr char kLoopback[] = "127.0.0.1";

const json::array& ArrayAt(const json::value& value, std::initializer_list<std::string_view> path) {
  static const json::array kEmpty;
  const json::value* found = kube::FindPath(value, path);
  return found != nullptr && found->is_array() ? found->get_array() : kEmpty;
}

// The number of the slice's port called `name`; 0: none.
int SlicePort(const kube::Object& slice, std::string_view name) {
  for (const json::value& port : ArrayAt(slice.json(), {"ports"})) {
    if (kube::StringAt(port, {"name"}) == name)
      return static_cast<int>(kube::IntAt(port, {"port"}));
  }
  return 0;
}

int BoundPort(int fd) {
  sockaddr_in address{};
  socklen_t size = sizeof(address);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.sin_port);
}

}  // namespace

struct ServiceProxy::Listener {
  TcpAddress address;
  std::vector<TcpAddress> endpoints;
  size_t next = 0;  // Round robin.
  int fd = -1;
};

// Forwards connections on a loop of its own.
struct ServiceProxy::Worker {
  explicit Worker(int number) : thread(absl::StrFormat("proxy-%d", number)) {}
  ~Worker() {
    thread.loop().Call([this] { connections.clear(); });
  }

  void Take(int fd, std::vector<TcpAddress> targets) {
    thread.loop().Post([this, fd, targets = std::move(targets)]() mutable {
      const uint64_t id = next_id++;
      auto forwarder = std::make_unique<TcpForwarder>(
          thread.loop(), fd, std::move(targets),
          [this, id] { thread.loop().Post([this, id] { connections.erase(id); }); });
      TcpForwarder& started = *forwarder;
      connections[id] = std::move(forwarder);
      started.Start();
    });
  }

  std::map<uint64_t, std::unique_ptr<TcpForwarder>> connections;
  uint64_t next_id = 0;
  EventLoopThread thread;
};

std::vector<ServicePort> PlanServicePorts(const kube::Object& service,
                                          const std::vector<kube::Object>& slices) {
  std::vector<ServicePort> ports;
  for (const json::value& port : ArrayAt(service.json(), {"spec", "ports"})) {
    if (kube::StringAt(port, {"protocol"}, "TCP") != "TCP") continue;
    ServicePort plan{.name = std::string(kube::StringAt(port, {"name"})),
                     .port = static_cast<int>(kube::IntAt(port, {"port"}))};
    for (const kube::Object& slice : slices) {
      const int target = SlicePort(slice, plan.name);
      if (target == 0) continue;
      for (const json::value& endpoint : ArrayAt(slice.json(), {"endpoints"})) {
        if (!kube::BoolAt(endpoint, {"conditions", "ready"}, true)) continue;
        for (const std::string& address : kube::StringsAt(endpoint, {"addresses"})) {
          plan.endpoints.push_back({address, target});
        }
      }
    }
    ports.push_back(std::move(plan));
  }
  return ports;
}

ServiceProxy::ServiceProxy(kube::Client& client, kube::Informer& services, kube::Informer& slices,
                           std::string ports_file)
    : client_(client),
      services_(services),
      slices_(slices),
      ports_file_(std::move(ports_file)),
      loop_thread_("services"),
      loop_(loop_thread_.loop()) {
  for (int i = 0; i < kWorkers; ++i) workers_.push_back(std::make_unique<Worker>(i));
  services_.AddHandler([this](const kube::InformerEvent& event) {
    loop_.Post([this, key = event.object.key()] { Sync(key); });
  });
  slices_.AddHandler([this](const kube::InformerEvent& event) {
    loop_.Post([this, key = kube::ObjectKey{std::string(event.object.namespace_name()),
                                            std::string(event.object.label(kServiceLabel))}] {
      Sync(key);
    });
  });
}

ServiceProxy::~ServiceProxy() {
  loop_.Call([this] {
    started_ = false;
    for (const auto& [id, listener] : listeners_) Close(*listener);
    listeners_.clear();
  });
}

absl::Status ServiceProxy::Start() {
  if (base::FileExists(ports_file_)) {
    ASSIGN_OR_RETURN(const std::string text, base::ReadFile(ports_file_));
    ASSIGN_OR_RETURN(const json::value ports, kube::ParseJson(text));
    if (ports.is_object()) {
      for (const auto& entry : ports.get_object()) {
        kept_ports_[std::string(entry.key())] =
            static_cast<int>(kube::IntAt(ports, {std::string(entry.key())}));
      }
    }
  }
  loop_.Call([this] {
    started_ = true;
    for (const kube::Object& service : services_.Snapshot()->All()) Sync(service.key());
  });
  return absl::OkStatus();
}

void ServiceProxy::Sync(const kube::ObjectKey& key) {
  if (!started_) return;
  const std::optional<kube::Object> service = services_.Find(key);
  const std::string prefix = key.ToString() + ":";
  std::set<std::string> wanted;
  const std::string address(service ? service->StringAt({"spec", "clusterIP"}) : "");
  if (service && !address.empty() && address != "None") {
    std::vector<kube::Object> slices;
    for (const kube::Object& slice : slices_.Snapshot()->All()) {
      if (slice.namespace_name() == key.namespace_name && slice.label(kServiceLabel) == key.name) {
        slices.push_back(slice);
      }
    }
    std::map<std::string, std::string> shown;
    for (const ServicePort& port : PlanServicePorts(*service, slices)) {
      wanted.insert(prefix + std::to_string(port.port));
      SyncPort(key, address, port, shown);
    }
    Annotate(*service, shown);
  }
  std::erase_if(listeners_, [&](const auto& entry) {
    if (!entry.first.starts_with(prefix) || wanted.contains(entry.first)) return false;
    Close(*entry.second);
    return true;
  });
}

void ServiceProxy::SyncPort(const kube::ObjectKey& key, const std::string& address,
                            const ServicePort& port, std::map<std::string, std::string>& shown) {
  const std::string id = absl::StrFormat("%s:%d", key.ToString(), port.port);
  std::unique_ptr<Listener>& listener = listeners_[id];
  if (!listener) {
    const std::optional<TcpAddress> place = Place(id, {address, port.port});
    if (!place) {
      listeners_.erase(id);
      return;
    }
    listener = std::make_unique<Listener>();
    listener->address = *place;
  }
  shown[std::to_string(port.port)] =
      absl::StrFormat("%s:%d", listener->address.host, listener->address.port);
  listener->endpoints = port.endpoints;
  if (listener->endpoints.empty()) {
    Close(*listener);
  } else if (listener->fd < 0) {
    Open(*listener);
  }
}

std::optional<TcpAddress> ServiceProxy::Place(const std::string& id, const TcpAddress& wanted) {
  const absl::StatusOr<int> own = ListenTcp(wanted);
  if (own.ok()) {
    close(*own);
    return wanted;
  }
  const auto kept = kept_ports_.find(id);
  const TcpAddress substitute{kLoopback, kept == kept_ports_.end() ? 0 : kept->second};
  absl::StatusOr<int> fd = ListenTcp(substitute);
  if (!fd.ok() && substitute.port != 0) fd = ListenTcp({kLoopback, 0});
  if (!fd.ok()) {
    base::LogWarning("service port not served", {{"service", id}, {"error", fd.status()}});
    return std::nullopt;
  }
  const int port = BoundPort(*fd);
  close(*fd);
  base::LogInfo("service port stands on 127.0.0.1",
                {{"service", id}, {"port", port}, {"error", own.status()}});
  if (kept_ports_[id] != port) {
    kept_ports_[id] = port;
    SavePorts();
  }
  return TcpAddress{kLoopback, port};
}

void ServiceProxy::SavePorts() {
  json::object ports;
  for (const auto& [id, port] : kept_ports_) ports[id] = port;
  const absl::Status status = base::WriteFileAtomic(ports_file_, json::serialize(ports));
  if (!status.ok()) base::LogWarning("service ports not saved", {{"error", status}});
}

void ServiceProxy::Open(Listener& listener) {
  const absl::StatusOr<int> fd = ListenTcp(listener.address);
  if (!fd.ok()) {
    base::LogWarning("service port not served", {{"error", fd.status()}});
    return;
  }
  listener.fd = *fd;
  loop_.Watch(listener.fd, EPOLLIN, [this, &listener](uint32_t) { Accept(listener); });
}

void ServiceProxy::Close(Listener& listener) {
  if (listener.fd < 0) return;
  loop_.Unwatch(listener.fd);
  close(listener.fd);
  listener.fd = -1;
}

void ServiceProxy::Accept(Listener& listener) {
  while (true) {
    const int fd = accept4(listener.fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;  // None waits, or no descriptors are left: the next event tries again.
    // Each connection begins at another endpoint and goes on to the others.
    std::vector<TcpAddress> targets;
    const size_t count = listener.endpoints.size();
    for (size_t i = 0; i < count; ++i) {
      targets.push_back(listener.endpoints[(listener.next + i) % count]);
    }
    ++listener.next;
    workers_[next_worker_++ % workers_.size()]->Take(fd, std::move(targets));
  }
}

void ServiceProxy::Annotate(const kube::Object& service,
                            const std::map<std::string, std::string>& shown) {
  json::object ports;
  for (const auto& [port, address] : shown) ports[port] = address;
  const std::string text = json::serialize(ports);
  if (service.annotation(kPortsAnnotation) == text) return;
  const json::value patch = json::object{
      {"metadata", json::object{{"uid", std::string(service.uid())},
                                {"annotations", json::object{{kPortsAnnotation, text}}}}}};
  const absl::Status status =
      client_
          .Patch(kube::resources::kServices, service.key(), kube::PatchType::kMerge, patch,
                 {.field_manager = "local-cluster"})
          .status();
  if (!status.ok() && !absl::IsNotFound(status)) {
    base::LogWarning("service not annotated",
                     {{"service", service.key().ToString()}, {"error", status}});
  }
}

}  // namespace local_cluster

// Services that really listen: clusterIP:port → ready pods.

#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"

#include "common/kube/client.h"
#include "common/kube/informer.h"
#include "local-cluster/runner/event_loop.h"
#include "local-cluster/runner/tcp_forwarder.h"

namespace local_cluster {

// On each Service: JSON, service port → address that answers on this host.
inline constexpr char kPortsAnnotation[] = "local-cluster.kaito.sh/ports";

// One port of a Service and the ready endpoints behind it.
struct ServicePort {
  std::string name;
  int port = 0;
  std::vector<TcpAddress> endpoints;

  bool operator==(const ServicePort&) const = default;
};

// The TCP ports of `service` with the ready endpoints of its `slices`.
std::vector<ServicePort> PlanServicePorts(const kube::Object& service,
                                          const std::vector<kube::Object>& slices);

// Listens on a Service's address while it has ready endpoints; else connections are refused, as on
// a real node. Ports that may not be bound (below 1024) get a port of 127.0.0.1, kept in
// `ports_file`.
class ServiceProxy {
 public:
  // All borrowed; adds handlers to the informers, so before their start.
  ServiceProxy(kube::Client& client, kube::Informer& services, kube::Informer& slices,
               std::string ports_file);
  ~ServiceProxy();

  // After the informers' first lists.
  absl::Status Start();

 private:
  struct Listener;
  struct Worker;

  void Sync(const kube::ObjectKey& key);
  void SyncPort(const kube::ObjectKey& key, const std::string& address, const ServicePort& port,
                std::map<std::string, std::string>& shown);
  // Where the port is reached: the Service's address, or one of ours. nullopt when there is none.
  std::optional<TcpAddress> Place(const std::string& id, const TcpAddress& wanted);
  void Open(Listener& listener);
  void Close(Listener& listener);
  void Accept(Listener& listener);
  void Annotate(const kube::Object& service, const std::map<std::string, std::string>& shown);
  void SavePorts();

  kube::Client& client_;
  kube::Informer& services_;
  kube::Informer& slices_;
  const std::string ports_file_;
  std::map<std::string, int> kept_ports_;  // "namespace/name:port" → port of 127.0.0.1.
  std::map<std::string, std::unique_ptr<Listener>> listeners_;
  std::vector<std::unique_ptr<Worker>> workers_;
  size_t next_worker_ = 0;
  bool started_ = false;
  EventLoopThread loop_thread_;
  EventLoop& loop_;
};

}  // namespace local_cluster

#include "common/net/grpc_server.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include <grpc/support/log.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/impl/server_builder_option.h"
#include "grpcpp/impl/server_builder_plugin.h"
#include "grpcpp/impl/server_initializer.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"

#include "common/base/log.h"
#include "common/net/listener.h"

namespace net {
namespace {

int Milliseconds(absl::Duration duration) {
  return static_cast<int>(absl::ToInt64Milliseconds(duration));
}

// gRPC writes its own format to stderr; what matters reaches the caller as a status anyway.
void LogByOurs() {
  static const bool once = [] {
    gpr_set_log_function([](gpr_log_func_args* line) {
      base::LogDebug("grpc", {{"text", line->message}, {"file", line->file}});
    });
    return true;
  }();
  static_cast<void>(once);
}

// Learns the names of the registered services, which the builder tells to plugins alone.
class NameCollector final : public grpc::ServerBuilderPlugin {
 public:
  explicit NameCollector(std::vector<std::string>* names) : names_(names) {}
  std::string name() override { return "kaito.service_names"; }
  void InitServer(grpc::ServerInitializer* /*initializer*/) override {}
  void Finish(grpc::ServerInitializer* initializer) override {
    *names_ = *initializer->GetServiceList();
  }
  void ChangeArguments(const std::string& /*name*/, void* /*value*/) override {}

 private:
  std::vector<std::string>* names_;
};

// Reflection for this server alone; the packaged way would turn it on for the whole process.
class Plugins final : public grpc::ServerBuilderOption {
 public:
  Plugins(std::vector<std::string>* names, bool reflection)
      : names_(names), reflection_(reflection) {}
  void UpdateArguments(grpc::ChannelArguments* /*arguments*/) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    plugins->push_back(std::make_unique<NameCollector>(names_));
    if (reflection_) {
      plugins->push_back(std::make_unique<grpc::reflection::ProtoServerReflectionPlugin>());
    }
  }

 private:
  std::vector<std::string>* names_;
  bool reflection_;
};

// Why an address could not be taken, found by trying again without gRPC, which does not say.
absl::Status WhyNot(const std::string& address) {
  if (address.starts_with("unix:")) {
    const auto listener = ListenUnix(address.substr(5));
    if (listener.ok()) close(*listener);
    return listener.status();
  }
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s is no address to listen on: give host:port or unix:PATH", address));
  }
  std::string host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  const auto listener = ListenTcp(host, std::atoi(address.c_str() + colon + 1), true);
  if (listener.ok()) close(*listener);
  return listener.status();
}

}  // namespace

struct GrpcServer::Impl {
  std::unique_ptr<grpc::Server> server;
  std::vector<int> ports;
  std::vector<std::string> service_names;
};

GrpcServer::GrpcServer() : impl_(std::make_unique<Impl>()) {}

GrpcServer::~GrpcServer() { Shutdown(absl::ZeroDuration()); }

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(
    const GrpcServerOptions& options, const std::vector<grpc::Service*>& services) {
  LogByOurs();
  std::unique_ptr<GrpcServer> server(new GrpcServer());
  Impl& impl = *server->impl_;
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  impl.ports.assign(options.addresses.size(), 0);
  for (size_t i = 0; i < options.addresses.size(); ++i) {
    builder.AddListeningPort(options.addresses[i], grpc::InsecureServerCredentials(),
                             &impl.ports[i]);
  }
  for (grpc::Service* service : services) builder.RegisterService(service);
  builder.SetMaxReceiveMessageSize(options.receive_bytes_max);
  builder.SetOption(std::make_unique<Plugins>(&impl.service_names, options.reflection));
  // Without this a second server would silently share the port.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, options.metadata_bytes_max);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options.streams_max);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, Milliseconds(options.keepalive_time));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                             Milliseconds(options.keepalive_timeout));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             Milliseconds(options.client_ping_interval_min));
  impl.server = builder.BuildAndStart();
  for (size_t i = 0; i < options.addresses.size(); ++i) {
    const std::string& address = options.addresses[i];
    const bool is_unix = address.starts_with("unix:");
    if (impl.server == nullptr || impl.ports[i] <= 0) {
      if (const absl::Status status = WhyNot(address); !status.ok()) return status;
    } else if (is_unix) {
      impl.ports[i] = 0;
      chmod(address.c_str() + 5, 0600);  // NOLINT(bugprone-unused-return-value): best effort.
    }
  }
  if (impl.server == nullptr) return absl::UnavailableError("the gRPC server could not start");
  server->SetServing(false);
  return server;
}

const std::vector<int>& GrpcServer::ports() const { return impl_->ports; }

void GrpcServer::SetServing(bool serving) {
  SetServing("", serving);
  for (const std::string& name : impl_->service_names) SetServing(name, serving);
}

void GrpcServer::SetServing(const std::string& service, bool serving) {
  if (auto* health = impl_->server->GetHealthCheckService()) {
    health->SetServingStatus(service, serving);
  }
}

void GrpcServer::Shutdown(absl::Duration timeout) {
  if (impl_->server == nullptr) return;
  impl_->server->Shutdown(absl::ToChronoTime(absl::Now() + timeout));
  impl_->server->Wait();
}

std::shared_ptr<grpc::Channel> MakeGrpcChannel(const std::string& target) {
  LogByOurs();
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(16 << 20);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  // How long one attempt to connect may take; a refused one ends at once.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2'000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1'000);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // Channels to one target would otherwise share connections, and with them their back-off.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments);
}

absl::Status FromGrpcStatus(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

}  // namespace net

#include "local-cluster/apiserver/api_server.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/synchronization/mutex.h"

#include "boost/json.hpp"
#include "common/base/check.h"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/kube/json.h"
#include "local-cluster/apiserver/bootstrap.h"
#include "local-cluster/apiserver/crd_manager.h"
#include "local-cluster/apiserver/credentials.h"
#include "local-cluster/apiserver/local_transport.h"
#include "local-cluster/apiserver/router.h"
#include "local-cluster/apiserver/service_addresses.h"
#include "local-cluster/apiserver/storage/file_log.h"

namespace local_cluster {
namespace {

constexpr size_t kBodyBytesMax = 3 << 20;
constexpr int kHandlerThreads = 24;

bool IsBuiltin(const Kind& kind, std::string_view name) {
  return !kind.custom && kind.kind == name;
}

// The store with all that its log had; in memory where there is no folder.
absl::StatusOr<std::unique_ptr<Store>> OpenStore(const ApiServerOptions& options,
                                                 const StoreOptions& store_options) {
  if (options.data_dir.empty()) return std::make_unique<Store>(store_options, nullptr);
  FileLogOptions log;
  log.folder = options.data_dir;
  log.sync = options.fsync == FsyncMode::kAlways  ? SyncMode::kAlways
             : options.fsync == FsyncMode::kBatch ? SyncMode::kBatch
                                                  : SyncMode::kNever;
  ASSIGN_OR_RETURN(OpenedLog opened, OpenFileLog(log));
  auto store = std::make_unique<Store>(store_options, std::move(opened.log));
  uint64_t revision = 0;
  for (const LogRecord& record : opened.records) {
    revision = std::max(revision, record.revision);
    if (!record.key.resource.empty()) {
      store->Restore(record, record.revision > opened.snapshot_revision);
    }
  }
  store->RestoreRevision(revision);
  store->RestoreHistoryFloor(opened.snapshot_revision);
  if (opened.tail_cut) {
    base::LogWarning("the log's last record was incomplete and has been cut off",
                     {{"folder", log.folder}, {"revision", revision}});
  }
  return store;
}

}  // namespace

struct ApiServer::Impl {
  Impl(const ApiServerOptions& options, Credentials credentials, std::unique_ptr<Store> the_store)
      : clock(options.clock == nullptr ? base::RealClock() : *options.clock),
        credentials(std::move(credentials)),
        store(std::move(the_store)),
        hub(*store, clock,
            {.bookmark_interval = options.bookmark_interval, .watches_max = options.watches_max}),
        addresses(*store),
        writer(*store, clock,
               {.admit =
                    [this](const ResourceRequest& request, boost::json::value& object,
                           const boost::json::value* old, std::vector<std::string>& warnings) {
                      return Admit(request, object, old, warnings);
                    },
                .stored = [this](const Kind& kind, ChangeType change,
                                 const SharedJson& object) { Stored(kind, change, object); }}),
        reader(*store, hub, clock),
        write_handler(writer, reader, clock),
        authenticator(*store, clock, this->credentials.token_key),
        subresources(*store, writer, authenticator, clock),
        router({.reader = reader,
                .writer = write_handler,
                .subresources = subresources,
                .authenticator = authenticator,
                .metrics = metrics,
                .kinds = [this] { return crds.kinds(); },
                .requests_max = options.requests_max}),
        transport(MakeLocalTransport(Handler())),
        client(*transport, {.field_manager = "local-cluster"}),
        crds(*store, clock, client) {
    store->SetObserver([this] { hub.Notify(); });
  }

  ~Impl() { hub.Shutdown(); }

  net::Handler Handler() {
    return [this](const std::shared_ptr<net::Exchange>& exchange) { router.Handle(exchange); };
  }

  absl::Status Admit(const ResourceRequest& request, boost::json::value& object,
                     const boost::json::value* old, std::vector<std::string>&) {
    if (IsBuiltin(*request.kind, "Service")) return addresses.Assign(object, old);
    return absl::OkStatus();
  }

  void Stored(const Kind& kind, ChangeType change, const SharedJson& object) {
    if (IsBuiltin(kind, "Service")) addresses.Settle(*object);
    crds.Stored(kind, change, object);
    if (IsBuiltin(kind, "Namespace") && change == ChangeType::kAdded) {
      const std::string_view name = kube::StringAt(*object, {"metadata", "name"});
      const absl::Status filled = FillNamespace(client, name, credentials.ca.certificate_pem);
      if (!filled.ok()) {
        base::LogWarning("namespace not filled", {{"namespace", name}, {"error", filled}});
      }
    }
  }

  const base::Clock& clock;
  const Credentials credentials;
  const std::unique_ptr<Store> store;
  metrics::Registry metrics;
  WatchHub hub;
  ServiceAddresses addresses;
  ObjectWriter writer;
  ObjectReader reader;
  WriteHandler write_handler;
  Authenticator authenticator;
  Subresources subresources;
  Router router;
  const std::unique_ptr<kube::Transport> transport;
  kube::Client client;
  CrdManager crds;
};

ApiServer::ApiServer() = default;
ApiServer::~ApiServer() = default;

absl::StatusOr<std::unique_ptr<ApiServer>> ApiServer::Open(const ApiServerOptions& options) {
  const std::string keys = options.data_dir.empty() ? "" : options.data_dir + "/pki";
  ASSIGN_OR_RETURN(Credentials credentials, LoadCredentials(keys));
  StoreOptions store_options;
  store_options.history = options.history;
  store_options.history_events = static_cast<size_t>(options.history_events);
  if (options.clock != nullptr) store_options.clock = options.clock;
  ASSIGN_OR_RETURN(std::unique_ptr<Store> store, OpenStore(options, store_options));
  auto server = std::unique_ptr<ApiServer>(new ApiServer());
  server->impl_ = std::make_unique<Impl>(options, std::move(credentials), std::move(store));
  server->impl_->crds.Load();
  RETURN_IF_ERROR(CreateFirstObjects(server->impl_->client, server->ca_pem()));
  return server;
}

net::HttpServerOptions ApiServer::HttpOptions() const {
  net::HttpServerOptions options;
  options.certificate_pem = impl_->credentials.server.certificate_pem;
  options.private_key_pem = impl_->credentials.server.private_key_pem;
  options.client_ca_pem = impl_->credentials.ca.certificate_pem;
  options.handler_threads = kHandlerThreads;
  options.body_bytes_max = kBodyBytesMax;
  options.error_response = [](int status, std::string_view message) {
    ApiError error;
    error.code = status;
    error.reason = status == 413   ? "RequestEntityTooLarge"
                   : status == 503 ? "ServiceUnavailable"
                                   : "BadRequest";
    error.message = message;
    return ErrorResponse(ToStatus(error));
  };
  return options;
}

net::Handler ApiServer::handler() { return impl_->Handler(); }

kube::Transport& ApiServer::transport() { return *impl_->transport; }

absl::Status ApiServer::WriteKubeconfig(const std::string& path, std::string_view name,
                                        std::string_view url) const {
  return base::WriteFileAtomic(path, KubeconfigText(impl_->credentials, name, url), 0600);
}

const std::string& ApiServer::ca_pem() const { return impl_->credentials.ca.certificate_pem; }

void ApiServer::SetPodStreams(PodStreams* streams) { impl_->subresources.SetPodStreams(streams); }

void ApiServer::SetReady(bool ready, std::string_view reason) {
  impl_->router.SetReady(ready, std::string(reason));
}

void ApiServer::Shutdown() {
  impl_->router.Refuse();
  impl_->hub.Shutdown();
}

uint64_t ApiServer::revision() const { return impl_->store->revision(); }

}  // namespace local_cluster

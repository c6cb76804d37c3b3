#include "local-cluster/azure/arm_emulator.h"

#include <algorithm>
#include <deque>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"

#include "boost/json.hpp"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/base/thread.h"
#include "common/kube/json.h"
#include "common/net/digest.h"
#include "common/net/http_server.h"
#include "local-cluster/azure/answers.h"
#include "local-cluster/azure/compute.h"
#include "local-cluster/azure/fault_rules.h"
#include "local-cluster/azure/node_writer.h"
#include "local-cluster/azure/pool_cluster.h"
#include "local-cluster/azure/throttle.h"
#include "local-cluster/azure/token_issuer.h"

namespace local_cluster::azure {
namespace {

using boost::json::array;
using boost::json::object;
using boost::json::value;

constexpr char kAudience[] = "https://management.core.local/";
constexpr size_t kLogMax = 100'000;

// An answer, or how the connection ends instead.
struct Reply {
  net::Response response;
  std::string cut;  // "before", "after": no byte; "mid_body": half of it.
  absl::Duration delay = absl::ZeroDuration();
};

// …/managedClusters/{cluster}/agentPools[/{name}[/{action}]], as the caller spelled it.
struct PoolPath {
  std::string base;  // Up to the cluster's name.
  std::string subscription;
  std::string resource_group;
  std::string cluster;
  std::string pool;
  std::string action;
};

std::vector<std::string> Segments(std::string_view path) {
  std::vector<std::string> segments;
  size_t start = 1;
  while (start < path.size() && segments.size() < 16) {
    const size_t end = std::min(path.find('/', start), path.size());
    segments.push_back(net::PercentDecode(path.substr(start, end - start)).value_or(""));
    start = end + 1;
  }
  return segments;
}

std::optional<PoolPath> ParsePoolPath(std::string_view path) {
  const std::vector<std::string> part = Segments(path);
  if (part.size() < 9 || part.size() > 11) return std::nullopt;
  const bool shape = Lower(part[0]) == "subscriptions" && Lower(part[2]) == "resourcegroups" &&
                     Lower(part[5]) == "microsoft.containerservice" &&
                     Lower(part[6]) == "managedclusters" && Lower(part[8]) == "agentpools";
  if (!shape) return std::nullopt;
  PoolPath result{.subscription = part[1], .resource_group = part[3], .cluster = part[7]};
  result.base = absl::StrFormat(
      "/subscriptions/%s/resourceGroups/%s/providers/"
      "Microsoft.ContainerService/managedClusters/%s",
      part[1], part[3], part[7]);
  if (part.size() > 9) result.pool = part[9];
  if (part.size() > 10) result.action = Lower(part[10]);
  return result;
}

catalog::GpuTypes LoadTypes(const std::string& folder) {
  std::vector<catalog::Problem> problems;
  catalog::GpuTypes types = catalog::GpuTypes::Load(folder, problems);
  for (const catalog::Problem& problem : problems) {
    base::LogWarning("catalogue entry is left out", {{"problem", problem.ToString()}});
  }
  return types;
}

}  // namespace

struct ArmEmulator::Impl {
  Impl(ArmEmulatorOptions emulator_options, kube::Client& kube, const base::Clock& base_clock)
      : options(std::move(emulator_options)),
        clock(base_clock),
        nodes(kube, base_clock),
        issuer({.tenant_id = options.tenant_id,
                .client_id = options.client_id,
                .client_secret = options.client_secret,
                .audience = kAudience}),
        compute(LoadTypes(options.gpu_types_dir), options.location, options.cores_per_family,
                options.cores_per_region),
        cluster(options, compute, nodes, base_clock) {
    absl::MutexLock lock(&mutex);
    if (!options.state_file.empty()) {
      if (const auto saved = base::ReadFile(options.state_file); saved.ok()) {
        cluster.Restore(*saved);
      }
    }
    saved_changes = cluster.changes();
  }

  ~Impl() {
    server.reset();  // No request comes any more.
    {
      absl::MutexLock lock(&mutex);
      stopping = true;
    }
    if (thread.joinable()) thread.join();
    RunDue();
  }

  void SetUrl(const std::string& base_url) {
    absl::MutexLock lock(&mutex);
    url = base_url;
    cluster.SetUrl(base_url);
  }

  // ---- Time ----

  void RunDue() {
    std::string to_save;
    {
      absl::MutexLock lock(&mutex);
      cluster.RunDue();
      woken = false;
      if (cluster.changes() != saved_changes && !options.state_file.empty()) {
        saved_changes = cluster.changes();
        to_save = cluster.Save();
      }
    }
    nodes.Flush();
    if (to_save.empty()) return;
    const absl::Status saved = base::WriteFileAtomic(options.state_file, to_save);
    if (!saved.ok()) base::LogError("pools could not be saved", {{"error", saved}});
  }

  void Loop(const std::stop_token&) {
    while (true) {
      RunDue();
      absl::MutexLock lock(&mutex);
      const absl::Duration retry =
          nodes.empty() ? absl::InfiniteDuration() : clock.Monotonic() + absl::Milliseconds(500);
      const absl::Duration next =
          std::min({cluster.NextDue(), retry, clock.Monotonic() + absl::Hours(1)});
      clock.AwaitUntil(mutex, absl::Condition(this, &Impl::WakeUp), next);
      if (stopping) return;
    }
  }
  bool WakeUp() const { return woken || stopping; }

  // ---- Requests ----

  Reply Handle(const net::Request& request) {
    Reply reply = Answer(request);
    const bool write = request.method != "GET";
    absl::MutexLock lock(&mutex);
    woken = woken || write;
    reply.response.headers.Set("x-ms-request-id", net::RandomUuid());
    const auto client_id = request.headers.Find("x-ms-client-request-id");
    if (client_id) reply.response.headers.Set("x-ms-client-request-id", std::string(*client_id));
    return reply;
  }

  Reply Answer(const net::Request& request) {
    const std::string path = Lower(request.path());
    if (absl::StartsWith(path, "/_emulator/")) return {Control(request)};
    absl::MutexLock lock(&mutex);
    const absl::Time now = clock.Now();
    if (path == "/metadata/endpoints") return {Metadata()};
    if (absl::EndsWith(path, "/oauth2/v2.0/token")) {
      if (token_fault && now < token_fault_until) return {*token_fault};
      return {issuer.Answer(request.path(), request.body, now)};
    }
    if (path == "/metadata/identity/oauth2/token") {
      if (token_fault && now < token_fault_until) return {*token_fault};
      return {issuer.AnswerImds(request, now)};
    }
    Reply reply = Arm(request);
    Log(request, reply);
    return reply;
  }

  net::Response Metadata() {
    return JsonAnswer(200, object{{"name", "local"},
                                  {"resourceManager", url + "/"},
                                  {"authentication", object{{"loginEndpoint", url + "/"},
                                                            {"audiences", array{value(kAudience)}},
                                                            {"identityProvider", "AAD"}}}});
  }

  Reply Arm(const net::Request& request) {
    if (auto refusal = issuer.Refuse(request, clock.Now())) return {*std::move(refusal)};
    const std::string path = Lower(request.path());
    const std::optional<PoolPath> pool_path = ParsePoolPath(request.path());
    const std::optional<FaultAct> fault =
        faults.Match(request.method, request.path(), pool_path ? pool_path->pool : "");
    Reply reply;
    if (fault) reply.delay = fault->delay;
    if (fault && fault->cut == "before") {
      reply.cut = fault->cut;
      return reply;
    }
    const bool does_work = !(fault && fault->answer && !fault->apply);
    if (does_work) {
      reply.response = pool_path ? PoolCall(request, *pool_path, fault) : OtherCall(request, path);
    }
    if (!fault) return reply;
    if (fault->answer) reply.response = *fault->answer;
    if (fault->raw) reply.response.body = *fault->raw;
    reply.cut = fault->cut;
    return reply;
  }

  net::Response OtherCall(const net::Request& request, const std::string& path) {
    const std::string own = "/subscriptions/" + Lower(options.subscription_id) + "/providers/";
    if (absl::StartsWith(path, own + "microsoft.containerservice/locations/")) {
      if (absl::StrContains(path, "/operations/")) return cluster.Operation(request, false);
      if (absl::StrContains(path, "/operationresults/")) return cluster.Operation(request, true);
    }
    if (path == own + "microsoft.compute/skus") return compute.Skus();
    if (path == own + "microsoft.compute/locations/" + Lower(options.location) + "/usages") {
      return compute.Usages();
    }
    return ErrorAnswer(404, "InvalidResourceType", "The resource type could not be found.");
  }

  net::Response PoolCall(const net::Request& request, const PoolPath& path,
                         const std::optional<FaultAct>& fault) {
    if (Lower(path.subscription) != Lower(options.subscription_id)) {
      return ErrorAnswer(404, "SubscriptionNotFound", "The subscription could not be found.");
    }
    const bool known = Lower(path.resource_group) == Lower(options.resource_group) &&
                       Lower(path.cluster) == Lower(options.cluster_name) && !cluster.missing();
    if (!known) return ClusterNotFound(path.cluster, path.resource_group);
    if (!net::QueryParameter(request.query(), "api-version")) {
      return ErrorAnswer(400, "MissingApiVersionParameter",
                         "The api-version query parameter (?api-version=) is required.");
    }
    const bool put = request.method == "PUT";
    const absl::Duration wait = put ? throttle.TakePut(Lower(path.pool), clock.Monotonic())
                                    : throttle.TakeOther(clock.Monotonic());
    if (wait > absl::ZeroDuration()) {
      net::Response throttled = ErrorAnswer(429, "Throttled", "The request was throttled.");
      throttled.headers.Set(
          "Retry-After",
          absl::StrFormat("%d", absl::ToInt64Seconds(absl::Ceil(wait, absl::Seconds(1)))));
      return throttled;
    }
    const std::optional<Outcome> outcome = fault ? fault->outcome : std::nullopt;
    if (path.pool.empty()) {
      if (request.method != "GET") return ErrorAnswer(405, "MethodNotAllowed", "");
      if (fault && fault->list == "stale" && !last_list.body.empty()) return last_list;
      net::Response list = cluster.List(path.base, request.query(), fault);
      if (!net::QueryParameter(request.query(), "skipToken") && !fault) last_list = list;
      return list;
    }
    net::Response response = OnePool(request, path, outcome);
    response.headers.Set(request.method == "GET" ? "x-ms-ratelimit-remaining-subscription-reads"
                                                 : "x-ms-ratelimit-remaining-subscription-writes",
                         request.method == "GET" ? "16499" : "800");
    return response;
  }

  net::Response OnePool(const net::Request& request, const PoolPath& path,
                        const std::optional<Outcome>& outcome) {
    if (path.action == "machines" && request.method == "GET") {
      return cluster.Machines(path.base, path.pool);
    }
    if (path.action == "abort" && request.method == "POST") return cluster.Abort(path.pool);
    if (!path.action.empty()) return ErrorAnswer(404, "NotFound", "no such action");
    if (request.method == "PUT") return cluster.Put(path.base, path.pool, request, outcome);
    if (request.method == "GET") return cluster.Get(path.base, path.pool);
    if (request.method == "DELETE") return cluster.Delete(path.pool, request, outcome);
    return ErrorAnswer(405, "MethodNotAllowed", "");
  }

  // ---- The log ----

  void Log(const net::Request& request, const Reply& reply) {
    object entry{{"sequence", next_sequence++},
                 {"time", kube::FormatMicroTime(clock.Now())},
                 {"method", request.method},
                 {"path", std::string(request.path())},
                 {"query", std::string(request.query().substr(0, 200))},
                 {"status", reply.cut.empty() ? reply.response.status : 0}};
    for (const char* name :
         {"x-ms-client-request-id", "x-ms-correlation-request-id", "If-Match", "If-None-Match"}) {
      if (const auto header = request.headers.Find(name)) entry[name] = std::string(*header);
    }
    if (request.method == "PUT") entry["body"] = request.body;
    log.push_back(std::move(entry));
    if (log.size() > kLogMax) log.pop_front();
  }

  // ---- Control ----

  net::Response Control(const net::Request& request) {
    const std::vector<std::string> part = Segments(request.path());
    const std::string what = part.size() > 1 ? part[1] : "";
    const std::string name = part.size() > 2 ? part[2] : "";
    const auto body =
        request.body.empty() ? absl::StatusOr<value>(object{}) : kube::ParseJson(request.body, 64);
    if (!body.ok()) return ErrorAnswer(400, "BadRequest", std::string(body.status().message()));
    absl::MutexLock lock(&mutex);
    if (what == "faults" && request.method == "POST") {
      const absl::Status added = faults.Add(*body);
      return added.ok() ? JsonAnswer(200, object{})
                        : ErrorAnswer(400, "BadRequest", std::string(added.message()));
    }
    if (what == "faults" && request.method == "DELETE") {
      return {.status = faults.Remove(name) ? 200 : 404};
    }
    if (what == "requests") return Requests(request.query());
    if (what == "pools" && name.empty()) return JsonAnswer(200, cluster.History());
    if (what == "pools") return cluster.ControlPool(name, *body);
    if (what == "nodes") return cluster.ControlNode(name, kube::StringAt(*body, {"do"}));
    if (what == "quota") return SetQuota(*body);
    if (what == "capacity") {
      compute.SetCapacity(kube::StringAt(*body, {"size"}),
                          std::string(kube::StringAt(*body, {"zone"})),
                          kube::IntAt(*body, {"free"}));
      return JsonAnswer(200, object{});
    }
    if (what == "cluster") return SetCluster(kube::StringAt(*body, {"do"}));
    if (what == "token") return SetToken(*body);
    return ErrorAnswer(404, "NotFound", "no such control call");
  }

  net::Response Requests(std::string_view query) {
    const int64_t since = std::atoll(net::QueryParameter(query, "since").value_or("0").c_str());
    array entries;
    for (const object& entry : log) {
      if (entry.at("sequence").to_number<int64_t>() >= since) entries.push_back(entry);
    }
    return JsonAnswer(200, entries);
  }

  net::Response SetQuota(const value& body) {
    const std::string family(kube::StringAt(body, {"family"}));
    if (family.empty()) return ErrorAnswer(400, "BadRequest", "family: is missing");
    const auto number = [&](const char* key) -> std::optional<int64_t> {
      return kube::FindPath(body, {key}) == nullptr ? std::nullopt
                                                    : std::optional(kube::IntAt(body, {key}));
    };
    compute.SetQuota(family, number("limit"), number("used"));
    return JsonAnswer(200, object{});
  }

  net::Response SetCluster(std::string_view what) {
    if (what == "hold" || what == "release") {
      cluster.HoldCluster(what == "hold");
    } else if (what == "missing" || what == "back") {
      cluster.SetMissing(what == "missing");
    } else {
      return ErrorAnswer(400, "BadRequest", "do: must be hold, release, missing or back");
    }
    return JsonAnswer(200, object{});
  }

  net::Response SetToken(const value& body) {
    const int status = static_cast<int>(kube::IntAt(body, {"status"}));
    token_fault.reset();
    if (status == 0) return JsonAnswer(200, object{});
    token_fault = net::Response{.status = status};
    if (const auto* const text = kube::FindPath(body, {"body"})) {
      token_fault->body =
          text->is_string() ? text->get_string().c_str() : boost::json::serialize(*text);
    }
    // A time, or seconds from now; without it for ever.
    const auto* const until = kube::FindPath(body, {"until"});
    token_fault_until = absl::InfiniteFuture();
    if (until != nullptr && until->is_number()) {
      token_fault_until = clock.Now() + absl::Seconds(until->to_number<double>());
    } else if (until != nullptr && until->is_string()) {
      token_fault_until = kube::ParseTime(until->get_string().c_str()).value_or(clock.Now());
    }
    return JsonAnswer(200, object{});
  }

  // ---- Over a socket ----

  void Serve(const std::shared_ptr<net::Exchange>& exchange) {
    Reply reply = Handle(exchange->request());
    if (reply.delay > absl::ZeroDuration()) {
      absl::MutexLock lock(&mutex);
      clock.AwaitUntil(mutex, absl::Condition(&stopping), clock.Monotonic() + reply.delay);
    }
    if (reply.cut.empty()) return exchange->Send(std::move(reply.response));
    if (reply.cut == "mid_body") {
      exchange->Begin(reply.response.status, reply.response.headers);
      exchange->Write(reply.response.body.substr(0, reply.response.body.size() / 2));
    }
    exchange->Abort();
  }

  const ArmEmulatorOptions options;
  const base::Clock& clock;
  NodeWriter nodes;
  const TokenIssuer issuer;

  absl::Mutex mutex;  // Guards all that follows but the server and the thread.
  Compute compute;
  PoolCluster cluster;
  FaultRules faults;
  Throttle throttle;
  std::string url;
  net::Response last_list;
  std::optional<net::Response> token_fault;
  absl::Time token_fault_until;
  std::deque<object> log;
  int64_t next_sequence = 1;
  uint64_t saved_changes = 0;
  bool woken = false;
  bool stopping = false;

  std::unique_ptr<net::HttpServer> server;
  std::jthread thread;
};

ArmEmulator::ArmEmulator(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ArmEmulator::~ArmEmulator() = default;

absl::StatusOr<std::unique_ptr<ArmEmulator>> ArmEmulator::Open(const ArmEmulatorOptions& options,
                                                               kube::Client& nodes,
                                                               const base::Clock& clock) {
  auto impl = std::make_unique<Impl>(options, nodes, clock);
  impl->SetUrl("http://127.0.0.1:1");
  return std::unique_ptr<ArmEmulator>(new ArmEmulator(std::move(impl)));
}

absl::StatusOr<std::unique_ptr<ArmEmulator>> ArmEmulator::Start(const ArmEmulatorOptions& options,
                                                                kube::Client& nodes,
                                                                const base::Clock& clock) {
  if (options.client_secret.empty()) {
    return absl::InvalidArgumentError("the ARM emulator needs a client secret");
  }
  auto impl = std::make_unique<Impl>(options, nodes, clock);
  Impl* const raw = impl.get();
  ASSIGN_OR_RETURN(
      impl->server,
      net::HttpServer::Start(
          {.bind_address = "127.0.0.1", .port = options.port, .handler_threads = 8},
          [raw](const std::shared_ptr<net::Exchange>& exchange) { raw->Serve(exchange); }));
  impl->SetUrl(absl::StrFormat("http://127.0.0.1:%d", impl->server->port()));
  impl->thread =
      base::StartThread("azure", [raw](const std::stop_token& stop) { raw->Loop(stop); });
  return std::unique_ptr<ArmEmulator>(new ArmEmulator(std::move(impl)));
}

int ArmEmulator::port() const { return impl_->server ? impl_->server->port() : 0; }

std::string ArmEmulator::url() const {
  absl::MutexLock lock(&impl_->mutex);
  return impl_->url;
}

absl::StatusOr<net::Response> ArmEmulator::Handle(const net::Request& request) {
  Reply reply = impl_->Handle(request);
  if (!reply.cut.empty()) return absl::UnavailableError("the connection was cut");
  // Longer than any client of ours waits; a shorter delay changes nothing without a socket.
  if (reply.delay >= absl::Seconds(60)) return absl::DeadlineExceededError("no answer in time");
  return std::move(reply.response);
}

void ArmEmulator::RunDue() { impl_->RunDue(); }

}  // namespace local_cluster::azure

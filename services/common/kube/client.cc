#include "common/kube/client.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"

#include "boost/json.hpp"
#include "common/base/check.h"
#include "common/base/clock.h"
#include "common/base/status_macros.h"
#include "common/kube/json.h"
#include "common/kube/rate_limiter.h"
#include "common/metrics/metrics.h"

namespace kube {
namespace {

namespace json = boost::json;

constexpr int kTriesMax = 10;
constexpr int kQuickRetriesMax = 2;  // Of a read that met a 5xx or a cut connection.
constexpr absl::Duration kQuickRetryWait = absl::Milliseconds(50);

// "?a=b&c=d" from what is not empty.
class Query {
 public:
  Query& Add(std::string_view name, std::string_view value) {
    if (value.empty()) return *this;
    text_ += absl::StrFormat("%c%s=%s", text_.empty() ? '?' : '&', name, net::PercentEncode(value));
    return *this;
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

std::string What(std::string_view verb, const Resource& resource, const ObjectKey& key) {
  if (!key.name.empty()) return absl::StrFormat("%s %s %s", verb, resource.kind, key.ToString());
  if (key.namespace_name.empty()) return absl::StrFormat("%s %s", verb, resource.plural);
  return absl::StrFormat("%s %s in %s", verb, resource.plural, key.namespace_name);
}

std::string AcceptHeader(std::string_view partial_kind) {
  if (partial_kind.empty()) return "application/json";
  return absl::StrFormat("application/json;as=%s;g=meta.k8s.io;v=v1,application/json",
                         partial_kind);
}

std::string WriteQuery(const WriteOptions& options, std::string_view field_manager, bool force) {
  return Query()
      .Add("fieldManager", options.field_manager.empty() ? field_manager : options.field_manager)
      .Add("dryRun", options.dry_run ? "All" : "")
      .Add("force", force ? "true" : "")
      .text();
}

std::string_view ContentType(PatchType type) {
  switch (type) {
    case PatchType::kMerge:
      return "application/merge-patch+json";
    case PatchType::kStrategicMerge:
      return "application/strategic-merge-patch+json";
    case PatchType::kJson:
      return "application/json-patch+json";
    case PatchType::kApply:
      return "application/apply-patch+yaml";
  }
  return "application/json";
}

// Servers leave kind and apiVersion out of a list's items.
void FillKind(const Resource& resource, json::value& item) {
  if (!item.is_object()) return;
  json::object& object = item.as_object();
  if (!object.contains("apiVersion")) object["apiVersion"] = resource.api_version();
  if (!object.contains("kind")) object["kind"] = resource.kind;
}

// Adds a page's items to `list`; returns its continue token.
absl::StatusOr<std::string> AddPage(const Resource& resource, const net::Response& response,
                                    std::string_view what, ObjectList& list) {
  absl::StatusOr<json::value> page = ParseJson(response.body);
  if (!page.ok()) {
    return absl::UnavailableError(absl::StrFormat("%s: %s", what, page.status().message()));
  }
  list.resource_version = StringAt(*page, {"metadata", "resourceVersion"});
  std::string next(StringAt(*page, {"metadata", "continue"}));
  if (const json::value* items = FindPath(*page, {"items"});
      items != nullptr && items->is_array()) {
    for (json::value& item : page->as_object().at("items").as_array()) {
      FillKind(resource, item);
      list.items.emplace_back(std::move(item));
    }
  }
  return next;
}

}  // namespace

struct Client::Impl {
  Impl(Transport& wire, ClientOptions client_options)
      : transport(wire),
        options(std::move(client_options)),
        limiter(options.queries_per_second, options.burst) {}

  // Sends until there is an answer worth handing on, and hands on an answer of any status.
  absl::StatusOr<net::Response> Call(net::Request request, absl::Duration timeout,
                                     std::string_view what);
  // As Call(), and turns what is no 2xx into an error and the rest into an object.
  absl::StatusOr<Object> CallForObject(net::Request request, absl::Duration timeout,
                                       std::string_view what);
  absl::StatusOr<ObjectList> ListPages(const Resource& resource, const ListOptions& list_options,
                                       int64_t limit);
  absl::StatusOr<std::unique_ptr<net::HttpStream>> Open(net::Request request,
                                                        absl::Duration timeout);
  void Prepare(net::Request& request) const;
  absl::Status AwaitTurn(absl::Duration deadline);
  void Sleep(absl::Duration duration) const;
  void Count(const net::Request& request, int status, absl::Duration duration) const;

  Transport& transport;
  const ClientOptions options;
  absl::Mutex mutex;
  TokenBucket limiter ABSL_GUARDED_BY(mutex);
};

void Client::Impl::Prepare(net::Request& request) const {
  if (!request.headers.Find("Accept")) request.headers.Add("Accept", "application/json");
  if (!request.headers.Find("User-Agent")) request.headers.Add("User-Agent", options.user_agent);
}

void Client::Impl::Sleep(absl::Duration duration) const {
  if (duration <= absl::ZeroDuration()) return;
  if (options.sleep) {
    options.sleep(duration);
  } else {
    absl::SleepFor(duration);
  }
}

absl::Status Client::Impl::AwaitTurn(absl::Duration deadline) {
  absl::Duration wait;
  const absl::Duration now = base::RealClock().Monotonic();
  {
    absl::MutexLock lock(&mutex);
    wait = limiter.Reserve(now);
  }
  if (now + wait > deadline) {
    return absl::DeadlineExceededError("our own limit of queries per second leaves no time");
  }
  Sleep(wait);
  if (options.registry != nullptr && wait > absl::ZeroDuration()) {
    options.registry
        ->GetHistogram("rest_client_rate_limiter_duration_seconds",
                       "Time calls waited for the client's own limit.", metrics::DurationBuckets())
        .Observe(absl::ToDoubleSeconds(wait));
  }
  return absl::OkStatus();
}

void Client::Impl::Count(const net::Request& request, int status, absl::Duration duration) const {
  if (options.registry == nullptr) return;
  options.registry
      ->GetCounter("rest_client_requests_total", "Calls to the API server.",
                   {{"code", status == 0 ? "<error>" : absl::StrFormat("%d", status)},
                    {"method", request.method},
                    {"host", options.host}})
      .Add();
  options.registry
      ->GetHistogram("rest_client_request_duration_seconds", "Duration of calls to the API server.",
                     metrics::DurationBuckets(), {{"verb", request.method}, {"host", options.host}})
      .Observe(absl::ToDoubleSeconds(duration));
}

absl::StatusOr<net::Response> Client::Impl::Call(net::Request request, absl::Duration timeout,
                                                 std::string_view what) {
  Prepare(request);
  const bool is_read = request.method == "GET";
  const absl::Duration deadline = base::RealClock().Monotonic() + timeout;
  int quick_retries = 0;
  for (int tries = 1;; ++tries) {
    if (absl::Status turn = AwaitTurn(deadline); !turn.ok()) return base::Annotate(turn, what);
    const absl::Duration begin = base::RealClock().Monotonic();
    absl::StatusOr<net::Response> response = transport.Send(request, deadline - begin);
    const absl::Duration end = base::RealClock().Monotonic();
    Count(request, response.ok() ? response->status : 0, end - begin);

    const int status = response.ok() ? response->status : 0;
    const bool was_cut = absl::IsUnavailable(response.status());
    const absl::Duration asked = response.ok() ? RetryAfter(*response) : absl::ZeroDuration();
    absl::Duration wait;
    if (status == 429 || (status >= 500 && asked > absl::ZeroDuration())) {
      wait = std::max(asked, absl::Milliseconds(100));
    } else if (is_read && (was_cut || status >= 500) && quick_retries < kQuickRetriesMax) {
      wait = kQuickRetryWait * ++quick_retries;
    } else {
      tries = kTriesMax;
    }
    if (tries >= kTriesMax || end + wait >= deadline) {
      if (!response.ok()) return base::Annotate(response.status(), what);
      return response;
    }
    Sleep(wait);
  }
}

absl::StatusOr<Object> Client::Impl::CallForObject(net::Request request, absl::Duration timeout,
                                                   std::string_view what) {
  if (timeout == absl::ZeroDuration()) timeout = options.call_timeout;
  ASSIGN_OR_RETURN(const net::Response response, Call(std::move(request), timeout, what));
  RETURN_IF_ERROR(StatusOfResponse(response, what));
  absl::StatusOr<Object> object = Object::Parse(response.body);
  if (object.ok()) return object;
  // The write may well have happened: kUnavailable makes the caller read again and decide.
  return absl::UnavailableError(absl::StrFormat("%s: %s", what, object.status().message()));
}

absl::StatusOr<std::unique_ptr<net::HttpStream>> Client::Impl::Open(net::Request request,
                                                                    absl::Duration timeout) {
  Prepare(request);
  RETURN_IF_ERROR(AwaitTurn(base::RealClock().Monotonic() + timeout));
  const absl::Duration begin = base::RealClock().Monotonic();
  auto stream = transport.Open(request, timeout);
  Count(request, stream.ok() ? (*stream)->status() : 0, base::RealClock().Monotonic() - begin);
  return stream;
}

Client::Client(Transport& transport, ClientOptions options)
    : impl_(std::make_unique<Impl>(transport, std::move(options))) {}

Client::~Client() = default;

const std::string& Client::field_manager() const { return impl_->options.field_manager; }

absl::StatusOr<Object> Client::Get(const Resource& resource, const ObjectKey& key,
                                   absl::Duration timeout) {
  return impl_->CallForObject({.method = "GET", .target = resource.Path(key)}, timeout,
                              What("get", resource, key));
}

absl::StatusOr<ObjectList> Client::Impl::ListPages(const Resource& resource,
                                                   const ListOptions& list_options, int64_t limit) {
  const ObjectKey key{.namespace_name = list_options.namespace_name, .name = ""};
  const std::string what = What("list", resource, key);
  ObjectList list;
  std::string next;
  do {
    Query query;
    query.Add("labelSelector", list_options.label_selector)
        .Add("fieldSelector", list_options.field_selector)
        .Add("limit", limit > 0 ? absl::StrFormat("%d", limit) : "");
    if (next.empty()) {
      query.Add("resourceVersion", list_options.resource_version)
          .Add("resourceVersionMatch", list_options.resource_version_match);
    } else {
      query.Add("continue", next);
    }
    net::Request request{.method = "GET", .target = resource.Path(key) + query.text()};
    request.headers.Add(
        "Accept", AcceptHeader(list_options.metadata_only ? "PartialObjectMetadataList" : ""));
    ASSIGN_OR_RETURN(const net::Response response,
                     Call(std::move(request), options.list_timeout, what));
    RETURN_IF_ERROR(StatusOfResponse(response, what));
    ASSIGN_OR_RETURN(next, AddPage(resource, response, what, list));
  } while (!next.empty());
  return list;
}

absl::StatusOr<ObjectList> Client::List(const Resource& resource, const ListOptions& options) {
  absl::StatusOr<ObjectList> list = impl_->ListPages(resource, options, options.limit);
  // The pages expired while we read them. The token in the answer would go on with another version,
  // so begin again, in one piece.
  if (absl::IsOutOfRange(list.status()) && options.limit > 0) {
    list = impl_->ListPages(resource, options, 0);
  }
  return list;
}

absl::StatusOr<std::unique_ptr<Watch>> Client::StartWatch(const Resource& resource,
                                                          const WatchOptions& options) {
  const ObjectKey key{.namespace_name = options.namespace_name, .name = ""};
  Query query;
  query.Add("watch", "true")
      .Add("allowWatchBookmarks", "true")
      .Add("labelSelector", options.label_selector)
      .Add("fieldSelector", options.field_selector)
      .Add("resourceVersion", options.resource_version)
      .Add("timeoutSeconds", absl::StrFormat("%d", absl::ToInt64Seconds(options.timeout)));
  if (options.send_initial_events) {
    query.Add("sendInitialEvents", "true").Add("resourceVersionMatch", "NotOlderThan");
  }
  net::Request request{.method = "GET", .target = resource.Path(key) + query.text()};
  request.headers.Add("Accept", AcceptHeader(options.metadata_only ? "PartialObjectMetadata" : ""));
  const std::string what = What("watch", resource, key);
  auto stream = impl_->Open(std::move(request), impl_->options.call_timeout);
  if (!stream.ok()) return base::Annotate(stream.status(), what);
  if ((*stream)->status() == 200) return std::make_unique<Watch>(*std::move(stream));

  net::Response refusal{.status = (*stream)->status(), .headers = (*stream)->headers()};
  while (refusal.body.size() < 64 << 10) {
    const absl::StatusOr<std::string> piece = (*stream)->Read(absl::Seconds(5));
    if (!piece.ok() || piece->empty()) break;
    refusal.body += *piece;
  }
  const absl::Status status = StatusOfResponse(refusal, what);
  return status.ok() ? absl::UnavailableError(absl::StrFormat("%s: %d", what, refusal.status))
                     : status;
}

absl::StatusOr<Object> Client::Create(const Resource& resource, const Object& object,
                                      const WriteOptions& options) {
  CHECK(object.Find({"status"}) == nullptr);
  ObjectKey key = object.key();
  const std::string what = What("create", resource, key);
  key.name.clear();
  net::Request request{
      .method = "POST",
      .target = resource.Path(key) + WriteQuery(options, impl_->options.field_manager, false),
      .body = object.ToJson()};
  request.headers.Add("Content-Type", "application/json");
  return impl_->CallForObject(std::move(request), options.timeout, what);
}

absl::StatusOr<Object> Client::Update(const Resource& resource, const Object& object,
                                      const WriteOptions& options) {
  CHECK(object.Find({"status"}) == nullptr);
  net::Request request{.method = "PUT",
                       .target = resource.Path(object.key()) +
                                 WriteQuery(options, impl_->options.field_manager, false),
                       .body = object.ToJson()};
  request.headers.Add("Content-Type", "application/json");
  return impl_->CallForObject(std::move(request), options.timeout,
                              What("update", resource, object.key()));
}

absl::StatusOr<Object> Client::Patch(const Resource& resource, const ObjectKey& key, PatchType type,
                                     const json::value& patch, const WriteOptions& options,
                                     std::string_view subresource) {
  const bool force_fits = !options.force || type == PatchType::kApply;
  CHECK(force_fits);
  const std::string query = WriteQuery(options, impl_->options.field_manager, options.force);
  net::Request request{.method = "PATCH",
                       .target = resource.Path(key, subresource) + query,
                       .body = json::serialize(patch)};
  request.headers.Add("Content-Type", std::string(ContentType(type)));
  const std::string_view verb = type == PatchType::kApply ? "apply" : "patch";
  const std::string what = What(verb, resource, key);
  return impl_->CallForObject(
      std::move(request), options.timeout,
      subresource.empty() ? what : absl::StrFormat("%s (%s)", what, subresource));
}

absl::StatusOr<Object> Client::Apply(const Resource& resource, const Object& object) {
  CHECK(object.Find({"status"}) == nullptr);
  return Patch(resource, object.key(), PatchType::kApply, object.json(), {.force = true});
}

absl::Status Client::Delete(const Resource& resource, const ObjectKey& key,
                            const DeleteOptions& options) {
  json::object body{{"kind", "DeleteOptions"}, {"apiVersion", "v1"}};
  if (!options.propagation.empty()) body["propagationPolicy"] = options.propagation;
  if (options.grace_period_seconds) body["gracePeriodSeconds"] = *options.grace_period_seconds;
  json::object preconditions;
  if (!options.uid.empty()) preconditions["uid"] = options.uid;
  if (!options.resource_version.empty()) {
    preconditions["resourceVersion"] = options.resource_version;
  }
  if (!preconditions.empty()) body["preconditions"] = std::move(preconditions);
  net::Request request{
      .method = "DELETE", .target = resource.Path(key), .body = json::serialize(body)};
  request.headers.Add("Content-Type", "application/json");
  const std::string what = What("delete", resource, key);
  ASSIGN_OR_RETURN(const net::Response response,
                   impl_->Call(std::move(request), impl_->options.call_timeout, what));
  const absl::Status status = StatusOfResponse(response, what);
  return absl::IsNotFound(status) ? absl::OkStatus() : status;
}

absl::StatusOr<net::Response> Client::Raw(const net::Request& request) {
  return impl_->Call(request, impl_->options.call_timeout,
                     absl::StrFormat("%s %s", request.method, request.path()));
}

absl::StatusOr<std::unique_ptr<net::HttpStream>> Client::RawStream(const net::Request& request) {
  return impl_->Open(request, impl_->options.call_timeout);
}

}  // namespace kube

// The verbs of a Kubernetes API.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "common/kube/object.h"
#include "common/net/http.h"
#include "common/net/http_client.h"

namespace metrics {
class Registry;
}

namespace kube {

// How bytes reach an API server: HTTP, or a direct call into the local one. Thread-safe.
class Transport {
 public:
  virtual ~Transport() = default;
  virtual absl::StatusOr<net::Response> Send(const net::Request& request,
                                             absl::Duration timeout) = 0;
  virtual absl::StatusOr<std::unique_ptr<net::HttpStream>> Open(const net::Request& request,
                                                                absl::Duration timeout) = 0;
};

struct ListOptions {
  std::string namespace_name;  // Empty: all namespaces.
  std::string label_selector;
  std::string field_selector;
  std::string resource_version;        // "": the most recent; "0": any, cheap.
  std::string resource_version_match;  // "", "NotOlderThan", "Exact".
  int64_t limit = 500;                 // Page size; List() reads all pages. 0: no pages.
  bool metadata_only = false;          // PartialObjectMetadata.
};

struct ObjectList {
  std::vector<Object> items;  // Each with apiVersion and kind, which a server leaves out.
  std::string resource_version;
};

struct WatchOptions {
  std::string namespace_name;
  std::string label_selector;
  std::string field_selector;
  std::string resource_version;
  bool send_initial_events = false;  // Watch-list.
  bool metadata_only = false;
  absl::Duration timeout = absl::Seconds(450);
};

struct WatchEvent {
  enum class Type { kAdded, kModified, kDeleted, kBookmark };
  Type type = Type::kAdded;
  Object object;
};

// The events of one watch: one JSON object per line, cut anywhere by the network. A line may have
// 16 MiB. One reader thread; Cancel() from any thread.
class Watch {
 public:
  explicit Watch(std::unique_ptr<net::HttpStream> stream);
  ~Watch();  // Cancels.

  // nullopt at the regular end. kDeadlineExceeded after `timeout` without an event (read on);
  // kOutOfRange when the history is gone: list again; kUnavailable when cut.
  absl::StatusOr<std::optional<WatchEvent>> Next(absl::Duration timeout);
  void Cancel();

 private:
  // The next whole line without its end; nullopt when more bytes are needed.
  std::optional<std::string_view> TakeLine();

  std::unique_ptr<net::HttpStream> stream_;
  std::string buffer_;   // Bytes of lines that are not handed out yet, from begin_ on.
  size_t begin_ = 0;     // Where the next line begins.
  size_t searched_ = 0;  // No line end before here.
};

enum class PatchType { kMerge, kStrategicMerge, kJson, kApply };

struct WriteOptions {
  std::string field_manager;  // Empty: the client's.
  bool dry_run = false;
  bool force = false;                             // Only with kApply.
  absl::Duration timeout = absl::ZeroDuration();  // Zero: the client's call_timeout.
};

struct DeleteOptions {
  std::string propagation = "Background";
  std::string uid;               // Precondition, if given.
  std::string resource_version;  // Precondition, if given.
  std::optional<int64_t> grace_period_seconds;
};

struct ClientOptions {
  std::string field_manager = "kaito-cpp";
  std::string user_agent = "kaito-cpp";
  absl::Duration call_timeout = absl::Seconds(30);
  absl::Duration list_timeout = absl::Seconds(60);
  double queries_per_second = 0;  // 0: no limit of our own.
  int burst = 50;
  metrics::Registry* registry = nullptr;  // Optional: rest_client_*.
  std::string host = "local";             // Label of these metrics.
  // How a call waits before it tries again; for tests. Default: it sleeps.
  std::function<void(absl::Duration)> sleep;
};

// Thread-safe. Errors by the Status' reason (platform design 1.4): kNotFound, kAlreadyExists,
// kAborted (conflict), kInvalidArgument (with all causes), kFailedPrecondition (namespace is
// going), kPermissionDenied, kResourceExhausted, kUnavailable, kOutOfRange (expired),
// kDeadlineExceeded. 429 and 5xx with Retry-After are waited for, at most 10 times within the
// deadline.
class Client {
 public:
  // `transport` is borrowed.
  Client(Transport& transport, ClientOptions options);
  ~Client();

  const std::string& field_manager() const;

  // `timeout` zero: options.call_timeout.
  absl::StatusOr<Object> Get(const Resource& resource, const ObjectKey& key,
                             absl::Duration timeout = absl::ZeroDuration());
  absl::StatusOr<ObjectList> List(const Resource& resource, const ListOptions& options = {});
  absl::StatusOr<std::unique_ptr<Watch>> StartWatch(const Resource& resource,
                                                    const WatchOptions& options);

  // Key and kind are taken from the object. CHECKs that `object` has no status, which a server
  // would silently drop: status is written by Patch() with subresource "status" (conditions.h).
  absl::StatusOr<Object> Create(const Resource& resource, const Object& object,
                                const WriteOptions& options = {});
  absl::StatusOr<Object> Update(const Resource& resource, const Object& object,
                                const WriteOptions& options = {});
  absl::StatusOr<Object> Patch(const Resource& resource, const ObjectKey& key, PatchType type,
                               const boost::json::value& patch, const WriteOptions& options = {},
                               std::string_view subresource = "");
  // Server-side apply with force: for our own children, never for a user's object.
  absl::StatusOr<Object> Apply(const Resource& resource, const Object& object);
  // kNotFound counts as done.
  absl::Status Delete(const Resource& resource, const ObjectKey& key,
                      const DeleteOptions& options = {});

  // For calls without a verb of their own (discovery, logs, eviction, token requests). An answer of
  // any status is no error; 429 and 5xx with Retry-After are waited for as everywhere.
  absl::StatusOr<net::Response> Raw(const net::Request& request);
  absl::StatusOr<std::unique_ptr<net::HttpStream>> RawStream(const net::Request& request);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// OK for 2xx; else the error of its Status body, or by code when the body is none.
absl::Status StatusOfResponse(const net::Response& response, std::string_view what);

// The error that a Status object describes ({"kind":"Status","reason":…}); `code` where it has
// none.
absl::Status StatusOfObject(const boost::json::value& status, int code, std::string_view what);

// What a failed call's answer suggested to wait; zero if nothing.
absl::Duration RetryAfter(const net::Response& response);

}  // namespace kube

#include "testing/provisioner/object_api.h"

#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/kube/json.h"

namespace provisioner_testing {
namespace {

using boost::json::object;
using boost::json::value;

constexpr char kStatusSuffix[] = "/status";

net::Response Answer(int status, const value& body) {
  net::Response response{.status = status, .body = boost::json::serialize(body)};
  response.headers.Set("Content-Type", "application/json");
  return response;
}

net::Response Refusal(int code, std::string_view reason) {
  return Answer(code, object{{"kind", "Status"},
                             {"apiVersion", "v1"},
                             {"status", "Failure"},
                             {"reason", std::string(reason)},
                             {"message", std::string(reason)},
                             {"code", code}});
}

// "/api/v1/nodes/name/status" in its parts.
struct Path {
  std::string collection;
  std::string name;
  bool status = false;
};

Path ParsePath(std::string_view text) {
  static const std::set<std::string> kPlurals = {"nodeclaims", "nodes", "pods",
                                                 "volumeattachments"};
  Path path{.collection = std::string(text)};
  if (absl::EndsWith(path.collection, kStatusSuffix)) {
    path.status = true;
    path.collection.resize(path.collection.size() - sizeof(kStatusSuffix) + 1);
  }
  const size_t slash = path.collection.rfind('/');
  if (kPlurals.contains(path.collection.substr(slash + 1))) return path;
  path.name = path.collection.substr(slash + 1);
  path.collection.resize(slash);
  return path;
}

bool HasFinalizers(const value& json) {
  return !kube::StringsAt(json, {"metadata", "finalizers"}).empty();
}

bool BeingDeleted(const value& json) {
  return kube::FindPath(json, {"metadata", "deletionTimestamp"}) != nullptr;
}

// Status goes through its subresource alone, and nothing else through it.
value Patched(const value& current, const value& patch, bool status) {
  value next = current;
  kube::MergePatch(next, patch);
  object result = (status ? current : next).as_object();
  const object& of_status = (status ? next : current).as_object();
  if (const auto* const found = of_status.if_contains("status")) {
    result["status"] = *found;
  } else {
    result.erase("status");
  }
  return result;
}

}  // namespace

struct ObjectApi::State {
  using Collection = std::map<std::string, value>;

  std::string NextVersion() { return std::to_string(++version); }

  net::Response List(const Collection& objects) {
    boost::json::array items;
    for (const auto& [name, json] : objects) items.push_back(json);
    return Answer(200, object{{"kind", "List"},
                              {"apiVersion", "v1"},
                              {"metadata", object{{"resourceVersion", std::to_string(version)}}},
                              {"items", std::move(items)}});
  }

  net::Response Create(Collection& objects, value json, absl::Time now) {
    const std::string name(kube::StringAt(json, {"metadata", "name"}));
    if (objects.contains(name)) return Refusal(409, "AlreadyExists");
    object& metadata = json.at("metadata").as_object();
    metadata["resourceVersion"] = NextVersion();
    metadata["uid"] = absl::StrFormat("uid-%d", version);
    metadata["generation"] = 1;
    metadata["creationTimestamp"] = kube::FormatTime(now);
    objects[name] = json;
    return Answer(201, json);
  }

  net::Response Patch(Collection& objects, const Path& path, const value& patch) {
    value& current = objects.at(path.name);
    const std::string version_now(kube::StringAt(current, {"metadata", "resourceVersion"}));
    const std::string_view wanted = kube::StringAt(patch, {"metadata", "resourceVersion"});
    if (!wanted.empty() && wanted != version_now) return Refusal(409, "Conflict");
    value next = Patched(current, patch, path.status);
    next.at("metadata").as_object()["resourceVersion"] = version_now;
    if (next == current) return Answer(200, current);
    next.at("metadata").as_object()["resourceVersion"] = NextVersion();
    current = next;
    if (BeingDeleted(next) && !HasFinalizers(next)) objects.erase(path.name);
    return Answer(200, next);
  }

  net::Response Delete(Collection& objects, const std::string& name, absl::Time now) {
    value& current = objects.at(name);
    if (!HasFinalizers(current)) {
      const value last = current;
      objects.erase(name);
      ++version;
      return Answer(200, last);
    }
    if (!BeingDeleted(current)) {
      object& metadata = current.at("metadata").as_object();
      metadata["deletionTimestamp"] = kube::FormatTime(now);
      metadata["resourceVersion"] = NextVersion();
    }
    return Answer(200, current);
  }

  std::map<std::string, Collection> collections;
  int64_t version = 1;
};

ObjectApi::ObjectApi(const base::Clock& clock) : clock_(clock), state_(new State()) {}
ObjectApi::~ObjectApi() = default;

absl::StatusOr<std::unique_ptr<net::HttpStream>> ObjectApi::Open(const net::Request&,
                                                                 absl::Duration) {
  return absl::UnimplementedError("no watches here");
}

absl::StatusOr<net::Response> ObjectApi::Send(const net::Request& request, absl::Duration) {
  const Path path = ParsePath(request.path());
  absl::MutexLock lock(&mutex_);
  State::Collection& objects = state_->collections[path.collection];
  if (request.method == "POST") {
    return state_->Create(objects, boost::json::parse(request.body), clock_.Now());
  }
  if (request.method == "GET" && path.name.empty()) return state_->List(objects);
  if (!objects.contains(path.name)) return Refusal(404, "NotFound");
  if (request.method == "GET") return Answer(200, objects.at(path.name));
  if (request.method == "PATCH") {
    return state_->Patch(objects, path, boost::json::parse(request.body));
  }
  if (request.method == "DELETE") return state_->Delete(objects, path.name, clock_.Now());
  return Refusal(405, "MethodNotAllowed");
}

}  // namespace provisioner_testing

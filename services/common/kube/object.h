// A Kubernetes object: JSON, with typed access to what all objects share.

#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/fwd.hpp>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "common/kube/object_key.h"

namespace kube {

struct OwnerReference {
  std::string api_version;
  std::string kind;
  std::string name;
  std::string uid;
  bool controller = false;
  bool block_owner_deletion = false;
};

// Value with copy on write: copying is cheap, and a copy never sees a change of another.
// Thread-compatible: const access from any number of threads.
class Object {
 public:
  Object();  // {}
  explicit Object(boost::json::value value);
  // kInvalidArgument with the offset; depth at most 512.
  static absl::StatusOr<Object> Parse(std::string_view json);

  const boost::json::value& json() const { return *value_; }
  boost::json::value& mutable_json();  // This object's own copy.

  // Where the members are missing or of another type: "", 0, empty.
  std::string_view api_version() const;
  std::string_view kind() const;
  std::string_view name() const;
  std::string_view namespace_name() const;
  ObjectKey key() const;
  std::string_view uid() const;
  std::string_view resource_version() const;
  int64_t generation() const;
  std::map<std::string, std::string> labels() const;
  std::map<std::string, std::string> annotations() const;
  std::string_view label(std::string_view name) const;
  std::string_view annotation(std::string_view name) const;
  std::vector<std::string> finalizers() const;
  bool HasFinalizer(std::string_view finalizer) const;
  std::vector<OwnerReference> owner_references() const;
  std::optional<OwnerReference> controller() const;
  std::optional<absl::Time> creation_time() const;
  std::optional<absl::Time> deletion_time() const;
  bool being_deleted() const { return deletion_time().has_value(); }

  void SetLabel(std::string_view name, std::string_view value);
  void SetAnnotation(std::string_view name, std::string_view value);
  void AddOwnerReference(const OwnerReference& owner);

  // By path, e.g. At({"spec", "nodeName"}); nullptr when a member on the way is missing.
  const boost::json::value* Find(std::initializer_list<std::string_view> path) const;
  std::string_view StringAt(std::initializer_list<std::string_view> path) const;
  int64_t IntAt(std::initializer_list<std::string_view> path, int64_t otherwise = 0) const;
  bool BoolAt(std::initializer_list<std::string_view> path, bool otherwise = false) const;

  std::string ToJson() const;

  bool operator==(const Object& other) const;

 private:
  std::shared_ptr<boost::json::value> value_;
};

// RFC 3339 as Kubernetes writes it: whole seconds, or microseconds for leases and events.
// Call it as kube::FormatTime: absl has one of that name.
std::string FormatTime(absl::Time time);
std::string FormatMicroTime(absl::Time time);
std::optional<absl::Time> ParseTime(std::string_view text);

// "500m", "16Gi", "1e3", "100k" → the value; nullopt when it is no quantity.
std::optional<double> ParseQuantity(std::string_view text);

}  // namespace kube

#include "workspace-controller/apply.h"

#include <string>
#include <utility>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/status_macros.h"
#include "common/kube/json.h"
#include "common/net/digest.h"

namespace workspace_controller {
namespace {

namespace json = boost::json;

// Tells that a member was taken away, which Covers() cannot see.
constexpr std::string_view kHashAnnotation = "workspace.kaito.io/applied-hash";

std::string ControllerUid(const kube::Object& object) {
  const std::optional<kube::OwnerReference> controller = object.controller();
  return controller ? controller->uid : "";
}

absl::Status CheckOwner(const kube::Resource& resource, const kube::Object& wanted,
                        const kube::Object& current) {
  if (ControllerUid(current) == ControllerUid(wanted)) return absl::OkStatus();
  // Retried: the other one may go, and no event would tell.
  return absl::AlreadyExistsError(
      absl::StrFormat("%s %s exists and does not belong to this Workspace; delete it, or rename "
                      "the Workspace",
                      resource.kind, current.key().ToString()));
}

// Left by a Workspace of the same name that is gone: the collector has not come to it yet.
bool IsOfPredecessor(const kube::Object& wanted, const kube::Object& current) {
  const auto wanted_owner = wanted.controller();
  const auto owner = current.controller();
  return wanted_owner && owner && owner->kind == wanted_owner->kind &&
         owner->name == wanted_owner->name && owner->uid != wanted_owner->uid;
}

absl::Status Replace(kube::Client& client, const kube::Resource& resource,
                     const kube::Object& wanted, const kube::Object& current) {
  RETURN_IF_ERROR(client.Delete(resource, current.key(), {.uid = std::string(current.uid())}));
  return client.Create(resource, wanted).status();
}

}  // namespace

bool Covers(const json::value& current, const json::value& wanted) {
  if (wanted.is_object()) {
    if (!current.is_object()) return false;
    for (const auto& [key, value] : wanted.get_object()) {
      const json::value* found = current.get_object().if_contains(key);
      if (found == nullptr || !Covers(*found, value)) return false;
    }
    return true;
  }
  if (wanted.is_array()) {
    if (!current.is_array() || current.get_array().size() != wanted.get_array().size()) {
      return false;
    }
    for (size_t i = 0; i < wanted.get_array().size(); ++i) {
      if (!Covers(current.get_array()[i], wanted.get_array()[i])) return false;
    }
    return true;
  }
  return current == wanted;
}

absl::Status ApplyChild(kube::Client& client, const kube::Resource& resource, kube::Object wanted,
                        const std::optional<kube::Object>& current, bool& changed) {
  changed = false;
  wanted.SetAnnotation(kHashAnnotation,
                       net::Sha256Hex(kube::CanonicalJson(wanted.json())).substr(0, 16));
  if (current && IsOfPredecessor(wanted, *current)) {
    const absl::Status replaced = Replace(client, resource, wanted, *current);
    changed = replaced.ok();
    return replaced;
  }
  if (current) {
    RETURN_IF_ERROR(CheckOwner(resource, wanted, *current));
    if (Covers(current->json(), wanted.json())) return absl::OkStatus();
  } else {
    const auto created = client.Create(resource, wanted);
    changed = created.ok();
    if (!absl::IsAlreadyExists(created.status())) return created.status();
    ASSIGN_OR_RETURN(const kube::Object stored, client.Get(resource, wanted.key()));
    RETURN_IF_ERROR(CheckOwner(resource, wanted, stored));
    if (Covers(stored.json(), wanted.json())) return absl::OkStatus();
  }
  const auto applied = client.Apply(resource, wanted);
  changed = applied.ok();
  return applied.status();
}

}  // namespace workspace_controller

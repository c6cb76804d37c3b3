// Every kind that is served: the built-in ones and those of CRDs, and how requests find them.

#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/fwd.hpp>

#include "local-cluster/apiserver/cel/schema.h"
#include "local-cluster/apiserver/schema/errors.h"

namespace local_cluster {

// One column of kubectl's tables.
struct Column {
  std::string name;
  std::string type = "string";  // string, integer, number, boolean, date.
  std::string format;
  std::string description;
  int priority = 0;       // Above 0: only with -o wide.
  std::string json_path;  // ".spec.size"; empty for the columns of built-in kinds.
};

// Where the scale subresource of a CRD finds its numbers: ".spec.replicas".
struct ScalePaths {
  std::string spec_replicas, status_replicas, label_selector;
};

// A version of a kind.
struct KindVersion {
  std::string name;
  bool served = true;
  const Schema* schema = nullptr;  // Null: any object.
  bool status = false;             // The status subresource.
  std::shared_ptr<const ScalePaths> scale;
  std::vector<Column> columns;
  std::vector<std::string> selectable_fields;          // "spec.nodeName"
  std::shared_ptr<const boost::json::value> open_api;  // Of CRDs: the schema as written.
  bool deprecated = false;
  std::string deprecation_warning;
};

// What only a built-in kind does. All functions may be null. `object` has been decoded and pruned.
struct Strategy {
  // Fills in what Kubernetes fills in.
  void (*set_defaults)(boost::json::object& object) = nullptr;
  // Adds what is wrong; `old` is null on create.
  void (*validate)(const boost::json::object& object, const boost::json::object* old,
                   std::vector<ErrorCause>& causes) = nullptr;
  // To the form in which it is stored, and back. For kinds that two groups serve.
  void (*to_storage)(boost::json::object& object) = nullptr;
  void (*from_storage)(boost::json::object& object) = nullptr;
  bool generation = false;           // metadata.generation counts changes.
  bool unconditional_update = true;  // PUT without resourceVersion.
  bool name_is_subdomain = true;     // Else only safe in a path (RBAC).
};

struct Kind {
  std::string group;
  std::string plural;
  std::string singular;
  std::string kind;
  std::vector<std::string> short_names;
  std::vector<std::string> categories;
  bool namespaced = true;
  bool custom = false;                    // Of a CRD.
  bool create_only = false;               // Answered, not stored: reviews.
  std::vector<std::string> subresources;  // Beyond status and scale.
  std::string storage;                    // In the store: "group/plural".
  std::string storage_version;
  std::vector<KindVersion> versions;  // The preferred one first.
  Strategy strategy;
  std::shared_ptr<const SchemaArena> arena;  // Keeps the schemas of a CRD.

  const KindVersion* Version(std::string_view name) const;
  ResourceName resource_name() const { return {group, plural, kind}; }
  std::string list_kind() const { return kind + "List"; }
  bool has_generation() const { return custom || strategy.generation; }
};

// An immutable set of kinds. A CRD that comes or goes makes another one.
class KindRegistry {
 public:
  // The built-in kinds.
  KindRegistry();

  // By URL. Null when it is not served.
  std::shared_ptr<const Kind> Find(std::string_view group, std::string_view version,
                                   std::string_view plural) const;
  std::shared_ptr<const Kind> FindKind(std::string_view group, std::string_view kind) const;
  bool HasGroup(std::string_view group) const;

  // In the order of discovery.
  const std::vector<std::shared_ptr<const Kind>>& kinds() const { return kinds_; }

  std::shared_ptr<const KindRegistry> With(std::shared_ptr<const Kind> kind) const;
  std::shared_ptr<const KindRegistry> Without(std::string_view group,
                                              std::string_view plural) const;

 private:
  std::vector<std::shared_ptr<const Kind>> kinds_;
};

// The preferred order of versions: v2, v1, v1beta2, v1beta1, v1alpha1, then by name.
bool VersionPrecedes(std::string_view a, std::string_view b);

}  // namespace local_cluster

// The schemas of Kubernetes' own kinds, from kinds/schema.txt, which is built into the program.

#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

#include "local-cluster/apiserver/cel/schema.h"

namespace local_cluster {

// Of a type, "io.k8s.api.core.v1.Pod". Null when there is none. Lives for ever; thread-safe.
const Schema* BuiltinType(std::string_view type_name);

// Of a kind.
const Schema* BuiltinKind(std::string_view group, std::string_view version, std::string_view kind);

// metadata of any object.
const Schema& ObjectMetaSchema();

// All types, for OpenAPI.
const SchemaArena& BuiltinTypes();

// "TYPE" or "TYPE.FIELD" → its documentation, "" if none. Unpacked on each call: for OpenAPI.
class Descriptions {
 public:
  Descriptions();
  Descriptions(const Descriptions&) = delete;
  std::string_view Find(std::string_view key) const;  // With "\\n" for a line break.

 private:
  std::string text_;
  std::unordered_map<std::string_view, std::string_view> by_key_;  // Into text_.
};

}  // namespace local_cluster

// The schemas of built-in kinds as OpenAPI v3 components.

#pragma once

#include <string>
#include <utility>
#include <vector>

#include <boost/json/fwd.hpp>

#include "local-cluster/apiserver/cel/schema.h"
#include "local-cluster/apiserver/schema/builtin.h"

namespace local_cluster {

// Collects types and all that they refer to.
class OpenApiSchemas {
 public:
  // `kinds` becomes x-kubernetes-group-version-kind, if not empty.
  void Add(const Schema& type, const boost::json::array& kinds);

  // "io.k8s.api.core.v1.Pod" and its schema, in order of names.
  std::vector<std::pair<std::string, boost::json::value>> Take();

 private:
  boost::json::object Describe(const Schema& type);
  boost::json::object FieldSchema(const Schema& schema, const std::string& description_key);

  Descriptions descriptions_;
  std::vector<const Schema*> waiting_;
  std::vector<std::pair<std::string, boost::json::value>> done_;
};

}  // namespace local_cluster

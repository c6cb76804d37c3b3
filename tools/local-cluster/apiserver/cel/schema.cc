#include "local-cluster/apiserver/cel/schema.h"

#include <algorithm>

#include "boost/json.hpp"

namespace local_cluster {

Constraints::~Constraints() = default;

const Property* Schema::Find(std::string_view name) const {
  const auto found = std::ranges::lower_bound(properties, name, {}, &Property::name);
  return found != properties.end() && found->name == name ? &*found : nullptr;
}

}  // namespace local_cluster
